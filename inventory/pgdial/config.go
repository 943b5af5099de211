package pgdial

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"

	"github.com/lib/pq"
)

// applicationName is what PostgreSQL shows of us in pg_stat_activity, unless the URL names another.
const applicationName = "rollcall"

// Config reads a database URL, or a "key=value" string. An error quotes nothing of it: a URL that cannot be parsed
// cannot be split into what may be shown and the password, and the errors of parsers hold pieces of either.
//
// Where the URL does not say otherwise (target_session_attrs, connect_timeout), a server counts only if it can be
// written to, and each has half of LostAfter to answer, so that the next of several is reached in time.
func Config(database string) (pq.Config, error) {
	var err error
	if isURL(database) {
		if database, err = normalize(database); err != nil {
			return pq.Config{}, unreadable(err.Error())
		}
	}
	cfg, err := pq.NewConfig(database)
	if err != nil {
		return pq.Config{}, unreadable(reason(err))
	}
	if cfg.ApplicationName == "" {
		cfg.ApplicationName = applicationName
	}
	if cfg.TargetSessionAttrs == "" {
		cfg.TargetSessionAttrs = pq.TargetSessionAttrsReadWrite
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = LostAfter / 2
	}
	return cfg, nil
}

func isURL(database string) bool {
	return strings.HasPrefix(database, "postgres://") || strings.HasPrefix(database, "postgresql://")
}

func unreadable(why string) error {
	return fmt.Errorf("the database URL cannot be read: %s (it may hold a password, so it is not shown)", why)
}

// parameterName is how settings of the driver and of PostgreSQL are called.
var parameterName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_.]*$`)

var (
	errNotEncoded = errors.New("characters such as / ? # % and @ in the user name, the password or a parameter must be " +
		"percent-encoded")
	errParameter = errors.New("the part after ? must be parameters of the form name=value, joined by &")
)

// normalize checks a URL, and moves several hosts with ports of their own to where the driver reads them.
func normalize(database string) (string, error) {
	scheme, rest, _ := strings.Cut(database, "://")
	authority, path := rest, ""
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		authority, path = rest[:end], rest[end:]
	}
	user, hosts := "", authority
	if at := strings.LastIndex(authority, "@"); at >= 0 {
		user, hosts = authority[:at+1], authority[at+1:]
	} else if authority != "" && strings.Contains(path, "@") {
		return "", errNotEncoded // the password ends the authority too early
	}
	several := strings.Contains(hosts, ",")
	if several {
		authority = user
	}
	u, err := url.Parse(scheme + "://" + authority + path)
	if err != nil {
		return "", errNotEncoded
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "", errParameter
	}
	for name := range query {
		if !parameterName.MatchString(name) {
			return "", errParameter
		}
	}
	if several {
		setHosts(query, hosts)
		u.RawQuery = query.Encode()
	}
	return u.String(), nil
}

// setHosts says in parameters what HOST:PORT,HOST:PORT says; a port may be missing.
func setHosts(query url.Values, hosts string) {
	var names, ports []string
	for host := range strings.SplitSeq(hosts, ",") {
		name, port, err := net.SplitHostPort(host)
		if err != nil {
			name, port = strings.Trim(host, "[]"), ""
		}
		if port == "" {
			port = "5432"
		}
		names, ports = append(names, name), append(ports, port)
	}
	query.Set("host", strings.Join(names, ","))
	query.Set("port", strings.Join(ports, ","))
}

var wrongValue = regexp.MustCompile(`wrong value for (\$?[A-Za-z_]+|"[A-Za-z_]+")`)

// reason is as much of the driver's error as names a setting and none of its value.
func reason(err error) string {
	if found := wrongValue.FindStringSubmatch(err.Error()); found != nil {
		return "its setting " + strings.Trim(found[1], `"`) + " has a value that the driver does not know"
	}
	return "it must be postgres://USER:PASSWORD@HOST:PORT/DATABASE or settings of the form host=HOST user=USER, " +
		"with values in single quotes that hold spaces"
}
