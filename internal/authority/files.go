package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
)

const (
	pemCertificate = "CERTIFICATE"
	pemKey         = "PRIVATE KEY"
)

// Pair is a certificate and its key, both in PEM.
type Pair struct {
	Cert, Key []byte
}

func encode(cert []byte, key *ecdsa.PrivateKey) (Pair, error) {
	text, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, fmt.Errorf("write a key: %w", err)
	}
	return Pair{
		Cert: pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: cert}),
		Key:  pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: text}),
	}, nil
}

// TLS is the pair as crypto/tls takes it.
func (p Pair) TLS() (tls.Certificate, error) { return tls.X509KeyPair(p.Cert, p.Key) }

// Write writes both files; only their owner can read the key. A file that exists is not overwritten, but an error: no
// one can make a key again.
func (p Pair) Write(certFile, keyFile string) error {
	if err := create(keyFile, p.Key, 0o600); err != nil {
		return err
	}
	if err := create(certFile, p.Cert, 0o644); err != nil {
		return errors.Join(err, os.Remove(keyFile)) // one of them alone helps no one
	}
	return nil
}

func create(name string, text []byte, mode os.FileMode) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("create file: %w", err)
	}
	_, err = file.Write(text)
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	return nil
}

func readPEM(name string) (*pem.Block, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read certificate authority: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("read certificate authority: %s holds no PEM", name)
	}
	return block, nil
}

func readCertificate(name string) (*x509.Certificate, error) {
	block, err := readPEM(name)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read certificate authority: %s: %w", name, err)
	}
	return cert, nil
}

// readKey reads a key in any of the forms in which authorities keep theirs.
func readKey(name string) (crypto.Signer, error) {
	block, err := readPEM(name)
	if err != nil {
		return nil, err
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read certificate authority: %s holds no private key that can be read: %w", name, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("read certificate authority: the key in %s cannot sign", name)
	}
	return signer, nil
}
