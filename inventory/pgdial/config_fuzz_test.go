package pgdial

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A database URL is read or refused, and no error quotes what may be the password.
func FuzzConfig(f *testing.F) {
	for _, around := range [][2]string{
		{"postgres://u:", "@127.0.0.1:1/db"},
		{"postgres://u:%zz", "@h/db"},
		{"host=h password=", " x"},
		{"postgres://u@h,h2:", "/db?sslmode=disable"},
		{"", ""},
		{"password='", ""},
		{"postgres://h/db?", "="},
	} {
		f.Add(around[0], around[1])
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "hush-hush"
		if _, err := Config(before + secret + after); err != nil {
			require.NotContains(t, err.Error(), secret)
		}
	})
}
