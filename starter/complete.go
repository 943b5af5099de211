package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"rollcall/inventory"
)

// completeTargets completes KIND and then names of that kind, for shells. Whatever goes wrong completes nothing.
func (g *globals) completeTargets(allowed ...kind) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			words := make([]string, len(allowed))
			for i, k := range allowed {
				words[i] = k.singular
			}
			return words, cobra.ShellCompDirectiveNoFileComp
		}
		k, _, err := parseTarget(args[:1], allowed...)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		names, err := g.names(cmd.Context(), k)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// names reads names of a kind, quickly or not at all.
func (g *globals) names(ctx context.Context, k kind) ([]string, error) {
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	store, err := g.openStore(ctx)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	orgID, err := g.orgID(ctx, store)
	if err != nil {
		return nil, err
	}
	found, err := k.read(ctx, store, inventory.Query{OrgID: orgID, Limit: 1000})
	if err != nil {
		return nil, err
	}
	return found.names(), nil
}
