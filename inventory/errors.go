package inventory

import (
	"errors"

	"github.com/lib/pq"
)

// RefusesValues tells whether an error is PostgreSQL's word that it will never take the values of a statement (SQLSTATE
// classes 22, data exceptions, and 23, violated constraints), as opposed to a connection, lock or resource that may be
// there at the next attempt.
func RefusesValues(err error) bool {
	var answer *pq.Error
	if !errors.As(err, &answer) {
		return false
	}
	class := answer.Code.Class()
	return class == "22" || class == "23"
}
