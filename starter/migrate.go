package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"rollcall/inventory"
)

func newMigrateCommand(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database's schema up to date",
		Long: `Brings the database's schema up to date. Rollcall's own tables are put into the schema "rollcall"; of Flight Control's
tables only those that are missing are created, and nothing of a Flight Control database is altered. It can be repeated,
and run beside others.`,
		Example: `  starter migrate
  ROLLCALL_DATABASE_URL=postgres://rollcall@db.example.com/flightctl starter migrate`,
		Args: cobra.NoArgs,
		RunE: run(func(ctx context.Context, _ []string) error { return migrate(ctx, g) }),
	}
}

func migrate(ctx context.Context, g *globals) error {
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
	return err
}
