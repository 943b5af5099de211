package flightctl

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"rollcall/runbook"
)

// The variables that LoadConfig reads.
const (
	EnvConfig            = "ROLLCALL_FLIGHTCTL_CONFIG"
	EnvServer            = "ROLLCALL_FLIGHTCTL_SERVER"
	EnvCAFile            = "ROLLCALL_FLIGHTCTL_CA_FILE"
	EnvTLSServerName     = "ROLLCALL_FLIGHTCTL_TLS_SERVER_NAME"
	EnvToken             = "ROLLCALL_FLIGHTCTL_TOKEN"
	EnvTokenFile         = "ROLLCALL_FLIGHTCTL_TOKEN_FILE"
	EnvOrganization      = "ROLLCALL_FLIGHTCTL_ORGANIZATION"
	EnvStoreAddress      = "ROLLCALL_FLIGHTCTL_KV_ADDRESS"
	EnvStorePassword     = "ROLLCALL_FLIGHTCTL_KV_PASSWORD"
	EnvStorePasswordFile = "ROLLCALL_FLIGHTCTL_KV_PASSWORD_FILE"
	EnvStoreDB           = "ROLLCALL_FLIGHTCTL_KV_DB"
	EnvRequestsPerMinute = "ROLLCALL_FLIGHTCTL_REQUESTS_PER_MINUTE"
)

// MaxRequestsPerMinute is the most that a Client may be set to send in a minute. Flight Control's shipped limit is 300
// for an address; a burst comes on top of this number, and both stay below half of it.
const MaxRequestsPerMinute = 140

// Config says where a Flight Control is, and which user speaks with it.
type Config struct {
	// Server is the URL of the API server, without /api/v1.
	Server string
	// CA holds PEM certificates of the authority that the server's certificate must come from. Empty trusts the system's.
	CA []byte
	// TLSServerName is the name that the server's certificate must have. Empty is the host of Server.
	TLSServerName string
	// InsecureSkipVerify accepts any certificate. Only `flightctl login --insecure-skip-tls-verify` sets it, in its file.
	InsecureSkipVerify bool
	// Token is the bearer token of the API. Without one the server must have authentication switched off.
	Token Secret
	// Organization is the id of the organisation that is asked for where a call names none.
	Organization string

	// StoreAddress is the host and port of the key-value store.
	StoreAddress string
	// StorePassword is its password.
	StorePassword Secret
	// StoreDB is the number of the database in the store; Flight Control uses 0.
	StoreDB int

	// RequestsPerMinute is what this Client may send to the API in a minute; 0 is MaxRequestsPerMinute. Where several
	// workers share an address, each needs its part of it.
	RequestsPerMinute int
	// WakesPerSecond is how many held polls Wake ends in a second; 0 is 100.
	WakesPerSecond int

	// Clock is the time by which calls are paced. Nil is the machine's; tests have one of their own.
	Clock Clock
}

// LoadConfig reads the variables ROLLCALL_FLIGHTCTL_…, over the file of `flightctl login` that
// ROLLCALL_FLIGHTCTL_CONFIG names. It reports false where none of these is set. All complaints come in one error.
func LoadConfig(env func(string) (string, bool)) (Config, bool, error) {
	l := loader{env: env}
	cfg := l.load()
	if !l.any {
		return Config{}, false, nil
	}
	if err := errors.Join(append(l.errs, cfg.complaints()...)...); err != nil {
		return Config{}, true, fmt.Errorf("configuration of Flight Control: %w", err)
	}
	return cfg, true, nil
}

// loader collects what is set and what is wrong with it.
type loader struct {
	env  func(string) (string, bool)
	any  bool
	errs []error
}

func (l *loader) get(name string) string {
	value, _ := l.env(name)
	l.any = l.any || value != ""
	return value
}

func (l *loader) fail(format string, args ...any) {
	l.errs = append(l.errs, fmt.Errorf(format, args...))
}

func (l *loader) load() Config {
	var cfg Config
	if path := l.get(EnvConfig); path != "" {
		if err := readLogin(path, &cfg); err != nil {
			l.fail("%s: %w", EnvConfig, err)
		}
	}
	override(&cfg.Server, l.get(EnvServer))
	override(&cfg.TLSServerName, l.get(EnvTLSServerName))
	override(&cfg.Organization, l.get(EnvOrganization))
	override(&cfg.StoreAddress, l.get(EnvStoreAddress))
	if path := l.get(EnvCAFile); path != "" {
		ca, err := os.ReadFile(path)
		if err != nil {
			l.fail("%s: %w", EnvCAFile, err)
		}
		cfg.CA = ca
	}
	if token := l.secret(EnvToken, EnvTokenFile); token.IsSet() {
		cfg.Token = token
	}
	cfg.StorePassword = l.secret(EnvStorePassword, EnvStorePasswordFile)
	cfg.StoreDB = l.number(EnvStoreDB, 0, 1<<16)
	cfg.RequestsPerMinute = l.number(EnvRequestsPerMinute, 1, MaxRequestsPerMinute)
	return cfg
}

func override(field *string, value string) {
	if value != "" {
		*field = value
	}
}

func (l *loader) secret(valueName, fileName string) Secret {
	value, file := l.get(valueName), l.get(fileName)
	switch {
	case value != "" && file != "":
		l.fail("%s and %s are both set; keep one", valueName, fileName)
	case file != "":
		s := SecretFile(file)
		s.variable = fileName
		if _, err := s.Read(); err != nil {
			l.fail("%s: %w", fileName, err)
		}
		return s
	}
	s := SecretValue(value)
	s.variable = valueName
	return s
}

func (l *loader) number(name string, least, most int) int {
	value := l.get(name)
	if value == "" {
		return 0
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < least || n > most {
		l.fail("%s is %q; it must be a number from %d to %d", name, value, least, most)
	}
	return n
}

// shown is an address as an error quotes it, without a password that someone may have put there.
func shown(address string) string {
	if at := strings.LastIndex(address, "@"); at >= 0 {
		return "…" + address[at:]
	}
	return address
}

// complaints lists what keeps c from being used.
func (c Config) complaints() []error {
	var errs []error
	u, err := url.Parse(c.Server)
	switch {
	case c.Server == "":
		errs = append(errs,
			fmt.Errorf("no server: set %s to the URL of the API server, or %s to the file that `flightctl login` wrote",
				EnvServer, EnvConfig))
	case err != nil || u.Scheme != "https" || u.Host == "":
		errs = append(errs, fmt.Errorf("server %q is not a URL that begins with https:// (%s)", shown(c.Server), EnvServer))
	case u.User != nil:
		errs = append(errs, fmt.Errorf("server %q names a user: leave that out, and set %s (%s)", shown(c.Server), EnvToken,
			EnvServer))
	case strings.Contains(u.Path, "/api"):
		errs = append(errs, fmt.Errorf("server %q goes too far: leave out %s (%s)", shown(c.Server), u.Path, EnvServer))
	}
	if _, _, err := net.SplitHostPort(c.StoreAddress); c.StoreAddress == "" {
		errs = append(errs,
			fmt.Errorf("no key-value store: set %s to its host and port, such as flightctl-kv:6379", EnvStoreAddress))
	} else if err != nil {
		errs = append(errs,
			fmt.Errorf("key-value store %q is not a host and a port (%s)", shown(c.StoreAddress), EnvStoreAddress))
	}
	if _, err := organization(c.Organization); err != nil {
		errs = append(errs, fmt.Errorf("%w (%s)", err, EnvOrganization))
	}
	if c.RequestsPerMinute < 0 || c.RequestsPerMinute > MaxRequestsPerMinute {
		errs = append(errs,
			fmt.Errorf("%d requests a minute: at most %d leave half of Flight Control's limit to the agents",
				c.RequestsPerMinute, MaxRequestsPerMinute))
	}
	return errs
}

// organization is the id that a name of an organisation in our program stands for, or empty for an empty one.
func organization(id string) (string, error) {
	switch id {
	case "":
		return "", nil
	case runbook.DefaultOrg:
		return runbook.DefaultOrgID, nil
	}
	parsed, err := uuid.Parse(id)
	if err != nil {
		return "", fmt.Errorf("organisation %q is not a UUID", id)
	}
	return parsed.String(), nil
}
