package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"rollcall/inventory"
	"rollcall/inventory/roles"
)

func newMigrateCommand(g *globals) *cobra.Command {
	var withRoles bool
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database's schema up to date",
		Long: `Brings the database's schema up to date. Rollcall's own tables are put into the schema "rollcall"; of Flight
Control's tables only those that are missing are created, and nothing of a Flight Control database is altered. It can be
repeated, and run beside others.

With --roles it also creates a role for each program, none of which can log in by itself, and grants it what the program
needs and no more; none can change the audit. Give each program a login that is a member of its role. Repeat it after
each
migration. Who runs this command owns the schema.`,
		Example: `  starter migrate
  ROLLCALL_DATABASE_URL=postgres://rollcall@db.example.com/flightctl starter migrate
  starter migrate --roles`,
		Args:    cobra.NoArgs,
		PreRunE: func(cmd *cobra.Command, _ []string) error { return g.refuseOrg(cmd) },
		RunE:    run(func(ctx context.Context, _ []string) error { return migrate(ctx, g, withRoles) }),
	}
	cmd.Flags().BoolVar(&withRoles, "roles", false, "create the roles of the programs, with the rights that each needs")
	return cmd
}

func migrate(ctx context.Context, g *globals, withRoles bool) error {
	url, err := g.database()
	if err != nil {
		return err
	}
	result, err := inventory.Migrate(ctx, url)
	if err != nil {
		return fmt.Errorf("migrate the database: %w", err)
	}
	if result.From == result.To {
		_, err = fmt.Fprintf(g.io.Stdout, "the schema is up to date (version %d)\n", result.To)
	} else {
		_, err = fmt.Fprintf(g.io.Stdout, "migrated the schema from version %d to %d\n", result.From, result.To)
	}
	if err != nil || !withRoles {
		return err
	}
	if err := inventory.CreateRoles(ctx, url); err != nil {
		return err
	}
	_, err = fmt.Fprintf(g.io.Stdout, "the roles %s have their rights; give each program a login of its own, as in\n"+
		"  create role NAME login password '...' in role %s\n", strings.Join(roles.All, ", "), roles.Worker)
	return err
}
