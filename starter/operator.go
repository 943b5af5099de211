package main

import (
	"os/user"
	"strings"

	"github.com/spf13/cobra"
)

// operator is the human on whose word a command acts, as the audit will name them.
type operator struct {
	as     string
	reason string
}

func (o *operator) bindAs(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.as, "as", "", "`who` decides, for the audit (default $USER)")
}

func (o *operator) bind(cmd *cobra.Command) {
	o.bindAs(cmd)
	cmd.Flags().StringVar(&o.reason, "reason", "", "`why`, for the audit")
}

// complete finds out who the operator is where --as did not say. That nobody is known is a usage error.
func (o *operator) complete(streams IO, cmd *cobra.Command) error {
	if cmd.Flags().Changed("as") {
		if strings.TrimSpace(o.as) == "" {
			return usagef("--as is empty: say who decides, as in --as alice")
		}
		return nil
	}
	if name, ok := streams.Env("USER"); ok && strings.TrimSpace(name) != "" {
		o.as = name
		return nil
	}
	if u, err := user.Current(); err == nil && u.Username != "" {
		o.as = u.Username
		return nil
	}
	return usagef("it is not known who decides: set --as, as in --as alice")
}
