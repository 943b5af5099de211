package flightctl

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"sigs.k8s.io/yaml"
)

// login is what is used of the file that `flightctl login` writes, ~/.config/flightctl/client.yaml.
type login struct {
	Service struct {
		Server             string `json:"server"`
		TLSServerName      string `json:"tls-server-name"`
		CAFile             string `json:"certificate-authority"`
		CAData             []byte `json:"certificate-authority-data"`
		InsecureSkipVerify bool   `json:"insecureSkipVerify"`
	} `json:"service"`
	Authentication struct {
		AccessToken       string `json:"access-token"`
		AccessTokenExpiry string `json:"access-token-expiry"`
		IDToken           string `json:"id-token"`
		TokenToUse        string `json:"token-to-use"`
	} `json:"authentication"`
	Organization string `json:"organization"`
}

func parseLogin(content []byte) (login, error) {
	var l login
	if err := yaml.Unmarshal(content, &l); err != nil {
		// The parser's words may quote the file, and with it a token.
		return login{}, fmt.Errorf("the file is not the YAML of `flightctl login`")
	}
	return l, nil
}

// token is the one that flightctl itself would send.
func (l login) token() string {
	if l.Authentication.TokenToUse == "id" {
		return l.Authentication.IDToken
	}
	return l.Authentication.AccessToken
}

// end is when the token ends, where the file says it: it does of the access token.
func (l login) end() time.Time {
	if l.Authentication.TokenToUse == "id" {
		return time.Time{}
	}
	end, err := time.Parse(time.RFC3339Nano, l.Authentication.AccessTokenExpiry)
	if err != nil {
		return time.Time{}
	}
	return end
}

func tokenOfLogin(content []byte) (kept, error) {
	l, err := parseLogin(content)
	return kept{secret: l.token(), end: l.end()}, err
}

// readLogin fills cfg from the file. The token stays in the file, so that a new login counts without a restart.
func readLogin(path string, cfg *Config) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	l, err := parseLogin(content)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	cfg.Server, cfg.TLSServerName, cfg.Organization = l.Service.Server, l.Service.TLSServerName, l.Organization
	cfg.CA, cfg.InsecureSkipVerify = l.Service.CAData, l.Service.InsecureSkipVerify
	if ca := l.Service.CAFile; len(cfg.CA) == 0 && ca != "" {
		if !filepath.IsAbs(ca) {
			ca = filepath.Join(filepath.Dir(path), ca)
		}
		if cfg.CA, err = os.ReadFile(ca); err != nil {
			return fmt.Errorf("certificate-authority of %s: %w", path, err)
		}
	}
	if l.token() != "" {
		cfg.Token = Secret{file: path, parse: tokenOfLogin, variable: EnvConfig}
	}
	return nil
}
