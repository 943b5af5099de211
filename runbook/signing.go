package runbook

import "fmt"

// SigningRequest is what the certificate signing request of an enrollment request (its spec.csr) holds, as far as it
// decides whether a certificate can be signed of it.
type SigningRequest struct {
	// Device is the device that the certificate is asked for.
	Device string
	// TPM reports whether it is a TPM's (a TCG-CSR-IDEVID), which holds a plain request that only Flight Control reads.
	TPM bool
	// Wrong is why no authority signs it, and WrongHere why ours does not; empty where nothing is wrong.
	Wrong     string
	WrongHere string
}

// UnsignableReason says for machines why a request can never be signed. The strings are promises.
type UnsignableReason string

// The reasons for which a request can never be signed.
const (
	UnsignableTPM         UnsignableReason = "TPM"         // it comes from a TPM, and our gateway would have to sign it
	UnsignableOtherDevice UnsignableReason = "OtherDevice" // it asks for the certificate of another device
	UnsignableMalformed   UnsignableReason = "Malformed"   // it cannot be read, or its key or signature is not accepted
)

// Unsignable says why no certificate will ever be signed of an enrollment request. A device that is approved all the
// same waits for its certificate without end.
type Unsignable struct {
	Reason UnsignableReason `json:"reason"`
	// Message goes on where the name of the request ends.
	Message string `json:"message"`
}

// CheckSigning finds out whether a certificate can ever be signed of the request of that name. It returns nil where one
// can. The mode says who signs: Flight Control's server takes the plain request out of a TPM's, and signs kinds of keys
// that our authority does not sign.
func CheckSigning(mode Mode, name string, r SigningRequest) *Unsignable {
	there := mode == ModeFlightctl
	switch {
	case r.TPM && there:
		return nil
	case r.TPM:
		return unsignable(UnsignableTPM,
			"can never be signed here: it comes from a TPM, and only Flight Control's own server signs such a request")
	case r.Wrong != "":
		return unsignable(UnsignableMalformed, "can never be signed: its spec.csr is not accepted: %s", r.Wrong)
	case r.Device != name:
		return unsignable(UnsignableOtherDevice, "can never be signed: its spec.csr asks for a certificate of %q", r.Device)
	case r.WrongHere != "" && !there:
		return unsignable(UnsignableMalformed, "can never be signed here: its spec.csr is not accepted: %s", r.WrongHere)
	}
	return nil
}

func unsignable(reason UnsignableReason, format string, args ...any) *Unsignable {
	return &Unsignable{Reason: reason, Message: storable(fmt.Sprintf(format, args...), maxRefusal)}
}

// refusal refuses the approval of a request that can never be signed, or returns nil.
func (u *Unsignable) refusal(name string) error {
	if u == nil {
		return nil
	}
	return Refuse(CodeUnsignable, "enrollment request %s %s; nothing was changed: deny or delete it, and have the device "+
		"enroll again with a request that can be signed", name, u.Message)
}
