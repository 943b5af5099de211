package authority

import (
	"crypto/x509"
	"encoding/pem"
	"time"
)

// renewBefore is how long before its end a certificate is signed again, or a tenth of its lifetime if that is less.
const renewBefore = 30 * 24 * time.Hour

// Aging is what is to be done about a certificate by its age.
type Aging struct {
	// Due tells that it had better be signed again: it ends soon, and a new one would be valid for longer.
	Due bool
	// Expired tells that it is not accepted any more.
	Expired bool
}

// Aging tells how a certificate in PEM stands at a time, where this authority has signed it; lifetime is what a new
// one would have. There is nothing to be done about one of someone else's.
func (a *CA) Aging(text string, lifetime time.Duration, now time.Time) Aging {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return Aging{}
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil || cert.CheckSignatureFrom(a.cert) != nil {
		return Aging{}
	}
	if now.After(cert.NotAfter) {
		return Aging{Due: true, Expired: true}
	}
	next := now.Add(lifetime)
	if next.After(a.cert.NotAfter) {
		next = a.cert.NotAfter
	}
	before := min(renewBefore, cert.NotAfter.Sub(cert.NotBefore)/10)
	return Aging{Due: now.Add(before).After(cert.NotAfter) && next.After(cert.NotAfter)}
}
