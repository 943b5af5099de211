package fake

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/google/uuid"
)

const apiVersion = "flightctl.io/v1beta1"

// reply writes an answer.
func reply(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if body != nil {
		_ = json.NewEncoder(w).Encode(body)
	}
}

// fail writes a Status.
func fail(w http.ResponseWriter, code int, reason, message string) {
	reply(w, code, map[string]any{
		"apiVersion": apiVersion, "kind": "Status", "code": code, "status": "Failure", "reason": reason, "message": message,
	})
}

func (f *FlightControl) broken(w http.ResponseWriter, err error) {
	f.log.Error("request failed", "error", err)
	fail(w, http.StatusInternalServerError, "InternalError", err.Error())
}

func notFound(w http.ResponseWriter, kind, name string) {
	fail(w, http.StatusNotFound, "NotFound", fmt.Sprintf("%s of name %q not found", kind, name))
}

// recovered turns a panic that is no death into a 500.
func (f *FlightControl) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch p := recover(); p {
			case nil:
			case http.ErrAbortHandler:
				panic(p)
			default:
				f.log.Error("panic", "value", p, "stack", string(debug.Stack()))
				w.WriteHeader(http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// call is a request whose token, or certificate, and organisation are right.
type call struct {
	w   http.ResponseWriter
	r   *http.Request
	org string
	// device is the agent's that calls, at the agents' API.
	device string
}

func (c call) name() string { return c.r.PathValue("name") }

// requestID is what the events of the call carry.
func (c call) requestID() string {
	if id := c.r.Header.Get("X-Request-Id"); id != "" {
		return id
	}
	return "fake/" + uuid.NewString()
}

func (f *FlightControl) userAPI() http.Handler {
	mux := http.NewServeMux()
	f.route(mux, "GET /api/v1/version", "version", "get", f.version)
	f.route(mux, "GET /api/v1/auth/permissions", "", "", f.permissions)
	f.route(mux, getUserInfo, "", "", f.userInfo)
	f.route(mux, listOrganizations, "", "", f.getOrganizations)
	f.route(mux, "GET /api/v1/devices/{name}", "devices", "get", f.getDevice)
	f.route(mux, "DELETE /api/v1/devices/{name}", "devices", "delete", f.deleteDevice)
	f.route(mux, "PATCH /api/v1/devices/{name}", "devices", "patch", f.editDevice)
	f.route(mux, "PUT /api/v1/devices/{name}/decommission", "devices/decommission", "update", f.decommission)
	f.route(mux, "POST /api/v1/deviceactions/resume", "devices/resume", "update", f.resume)
	f.route(mux, "GET /api/v1/enrollmentrequests/{name}", "enrollmentrequests", "get", f.getRequest)
	f.route(mux, "DELETE /api/v1/enrollmentrequests/{name}", "enrollmentrequests", "delete", f.deleteRequest)
	f.route(mux, "PUT /api/v1/enrollmentrequests/{name}/approval", "enrollmentrequests/approval", "update", f.approve)

	outer := http.NewServeMux()
	outer.HandleFunc("GET /api/version", func(w http.ResponseWriter, r *http.Request) { f.version(call{w: w, r: r}) })
	outer.Handle("/api/v1/", f.limited(f.userLimit, mux))
	return f.recovered(outer)
}

// The calls that are of no organisation.
const (
	getUserInfo       = "GET /api/v1/auth/userinfo"
	listOrganizations = "GET /api/v1/organizations"
)

// route serves a call to a user who has the right to it.
func (f *FlightControl) route(mux *http.ServeMux, pattern, resource, operation string, do func(call)) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		f.count(pattern)
		f.mu.Lock()
		token, role := f.token, f.role
		f.mu.Unlock()
		given, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		switch {
		case !bearer:
			fail(w, http.StatusBadRequest, "BadRequest", "failed to get auth token")
			return
		case given != token:
			fail(w, http.StatusUnauthorized, "Unauthorized", "failed to validate token")
			return
		}
		org := ""
		if pattern != getUserInfo && pattern != listOrganizations {
			var err *orgError
			if org, err = f.organization(r); err != nil {
				fail(w, err.code, http.StatusText(err.code), err.message)
				return
			}
		}
		if resource != "" && !allowed(role, resource, operation) {
			fail(w, http.StatusForbidden, "Forbidden", "Forbidden")
			return
		}
		do(call{w: w, r: r, org: org})
	})
}

type orgError struct {
	code    int
	message string
}

// What resolveOrgID in the real one's internal/api_server/middleware answers.
const (
	errNotMember = "access denied to organization"
	errNoOrg     = "user belongs to no organizations"
	errAmbiguous = "user belongs to multiple organizations but no organization specified"
)

// organization is the one that the query names, or else the user's only one.
func (f *FlightControl) organization(r *http.Request) (string, *orgError) {
	all, err := f.organizations(r.Context())
	if err != nil {
		return "", &orgError{http.StatusInternalServerError, err.Error()}
	}
	f.mu.Lock()
	if f.memberOf != nil {
		all = slices.DeleteFunc(all, func(id string) bool { return !slices.Contains(f.memberOf, id) })
	}
	f.mu.Unlock()
	named := r.URL.Query().Get("org_id")
	if named == "" {
		switch len(all) {
		case 0:
			return "", &orgError{http.StatusForbidden, errNoOrg}
		case 1:
			return all[0], nil
		}
		return "", &orgError{http.StatusBadRequest, errAmbiguous}
	}
	id, err := uuid.Parse(named)
	if err != nil {
		return "", &orgError{http.StatusBadRequest, "invalid organization ID"}
	}
	if !slices.Contains(all, id.String()) {
		return "", &orgError{http.StatusForbidden, errNotMember}
	}
	return id.String(), nil
}

// organizations are the ids of all that there are.
func (f *FlightControl) organizations(ctx context.Context) (ids []string, err error) {
	err = f.db.SelectContext(ctx, &ids, `select cast(id as text) from organizations order by id`)
	return ids, err
}

func (f *FlightControl) getOrganizations(c call) {
	all, err := f.organizations(c.r.Context())
	if err != nil {
		f.broken(c.w, err)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	items := []any{}
	for _, id := range all {
		if f.memberOf == nil || slices.Contains(f.memberOf, id) {
			items = append(items, map[string]any{
				"apiVersion": apiVersion, "kind": "Organization", "metadata": map[string]any{"name": id},
			})
		}
	}
	reply(c.w, http.StatusOK, map[string]any{"apiVersion": apiVersion, "kind": "OrganizationList", "items": items})
}

// grants are what the shipped roles may do, as far as it is asked for here. An entry for a resource counts before "*".
var grants = map[string]map[string][]string{
	RoleAdmin:     {"*": {"*"}},
	RoleOperator:  {"devices": {"get", "list", "create", "update", "patch", "delete"}, "*": {"get", "list"}},
	RoleInstaller: {"enrollmentrequests": {"get", "list"}, "enrollmentrequests/approval": {"update"}},
}

func allowed(role, resource, operation string) bool {
	operations, own := grants[role][resource]
	if !own {
		operations = grants[role]["*"]
	}
	return slices.Contains(operations, "*") || slices.Contains(operations, operation)
}

func (f *FlightControl) version(c call) {
	reply(c.w, http.StatusOK, map[string]string{"version": f.cfg.Version})
}

func (f *FlightControl) userInfo(c call) {
	f.mu.Lock()
	name := f.name
	f.mu.Unlock()
	reply(c.w, http.StatusOK, map[string]any{"preferred_username": name, "name": name})
}

func (f *FlightControl) permissions(c call) {
	f.mu.Lock()
	role := f.role
	f.mu.Unlock()
	list := []map[string]any{}
	for resource, operations := range grants[role] {
		list = append(list, map[string]any{"resource": resource, "operations": operations})
	}
	reply(c.w, http.StatusOK, map[string]any{"permissions": list})
}
