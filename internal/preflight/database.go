package preflight

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"rollcall/flightctl"
	"rollcall/inventory/inspect"
	"rollcall/runbook"
)

func database(ctx context.Context, o Options) []flightctl.Finding {
	if o.StoreError != nil {
		return []flightctl.Finding{
			failed(SubjectDatabase, o.StoreError.Error(), "set ROLLCALL_DATABASE_URL, and see whether the server runs"),
		}
	}
	d, err := inspect.Look(ctx, o.Store.DB(), o.FlightctlRoles)
	if err != nil {
		return []flightctl.Finding{failed(SubjectDatabase, err.Error(), "see whether the server runs")}
	}
	found := []flightctl.Finding{
		ok(SubjectDatabase, fmt.Sprintf("%s answers to %s", d.Name, d.User), "PostgreSQL "+d.Version),
	}
	if err := o.Store.CheckSchema(ctx); err != nil {
		found = append(found, failed(SubjectDatabase, err.Error(), "run starter migrate"))
	}
	found = append(found, rights(d)...)
	if d.ReadOnly {
		found = append(found,
			failed(SubjectDatabase, "it takes no writes: it is a standby, or set to be read only", "connect to the primary"))
	}
	return append(found, others(ctx, o, d)...)
}

// rights finds what may not be done in the database that a roll call or Flight Control's backup does. A login that only
// shows or decides needs no more than it has: the worker's role acts.
func rights(d inspect.Database) (found []flightctl.Finding) {
	switch {
	case len(d.Missing) > 0 && d.Acts != d.User:
		found = append(found, failed(SubjectDatabase, "the worker's role "+d.Acts+" lacks "+strings.Join(d.Missing, ", "),
			"run starter migrate --roles, as the owner of the tables"))
	case len(d.Missing) > 0:
		found = append(found,
			failed(SubjectDatabase, d.User+" lacks "+strings.Join(d.Missing, ", "), "grant it, as the owner of the tables"))
	}
	for _, role := range d.Unread {
		found = append(found, warning(SubjectDatabase,
			role+" cannot read all of the schema rollcall: a backup by Flight Control as this role fails",
			"run starter migrate; or grant "+role+" usage on the schema, and select on its tables and sequences"))
	}
	return found
}

// organizations are those whose devices a roll call is about; none where that cannot be read, which is reported with
// the database.
func (o Options) organizations(ctx context.Context) []string {
	if o.Store == nil {
		return nil
	}
	orgs, err := inspect.Organizations(ctx, o.Store.DB())
	if err != nil {
		return nil
	}
	return orgs
}

// others finds clients of the database that are neither ours nor the restored Flight Control.
func others(ctx context.Context, o Options, d inspect.Database) []flightctl.Finding {
	clients, err := inspect.Clients(ctx, o.Store.DB())
	if err != nil {
		return []flightctl.Finding{warning(SubjectDatabase, err.Error(), "")}
	}
	var found []flightctl.Finding
	for _, c := range clients {
		if f := o.strange(c); f != nil {
			found = append(found, *f)
		}
	}
	if len(found) == 0 {
		found = append(found, ok(SubjectDatabase, "no one is connected but those who should be", ""))
	}
	if len(o.FlightctlAddresses) > 0 && !d.SeesAddresses {
		found = append(found, warning(SubjectDatabase, "the addresses of other clients are hidden from "+d.User,
			"grant pg_read_all_stats to "+d.User+", so that a lost control plane's servers can be told from the restored one's"))
	}
	return found
}

// strange says what is strange about a client, if anything is.
func (o Options) strange(c inspect.Client) *flightctl.Finding {
	who := fmt.Sprintf("role %s, application %q", c.Role, c.Application)
	if c.Address != "" {
		who += ", from " + c.Address
	}
	var f flightctl.Finding
	switch theirs := slices.Contains(o.FlightctlRoles, c.Role); {
	case strings.HasPrefix(c.Application, "rollcall"):
		return nil
	case theirs && !o.beside():
		f = warning(SubjectDatabase, "servers of Flight Control are connected while the mode is standalone ("+who+")",
			"stop them, or set the variables ROLLCALL_FLIGHTCTL_… to run beside them")
	case theirs && len(o.FlightctlAddresses) > 0 && c.Address != "" && !slices.Contains(o.FlightctlAddresses, c.Address):
		f = warning(SubjectDatabase, "a Flight Control at an unknown address is connected ("+who+")",
			"stop it if it is the lost control plane; else name its address with --flightctl-address")
	case theirs:
		return nil
	default:
		f = warning(SubjectDatabase, "someone else is connected ("+who+")",
			"find out who it is; if it writes devices, stop it; if it is Flight Control, name its role with --flightctl-role")
	}
	return &f
}

// mode compares the mode that the environment says with that of restores that run.
func mode(ctx context.Context, o Options) []flightctl.Finding {
	if o.Store == nil || o.Store.CheckSchema(ctx) != nil {
		return nil // reported with the database
	}
	ours := runbook.ModeStandalone
	if o.beside() {
		ours = runbook.ModeFlightctl
	}
	restores, err := o.Store.Restores(ctx, 100)
	if err != nil {
		return []flightctl.Finding{failed(SubjectMode, err.Error(), "")}
	}
	found := []flightctl.Finding{ok(SubjectMode, string(ours)+", as the variables ROLLCALL_FLIGHTCTL_… say", "")}
	for _, r := range restores {
		if r.State == runbook.RestoreRunning && r.Mode != "" && r.Mode != ours {
			found = append(found,
				failed(SubjectMode,
					fmt.Sprintf("restore %s runs in the mode %s, and this environment has the mode %s", r.RestoreID, r.Mode, ours),
					"set or unset ROLLCALL_FLIGHTCTL_… here as for the worker that opened it"))
		}
	}
	return found
}
