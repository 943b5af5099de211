package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rollcall/authority"
)

const (
	envGatewayURL = "ROLLCALL_GATEWAY_URL"
	envCACert     = "ROLLCALL_CA_CERT"
	envCAKey      = "ROLLCALL_CA_KEY"
)

type certOptions struct {
	*globals
	caCert, caKey, dir string
	days               int
}

func newCertCommand(g *globals) *cobra.Command {
	o := &certOptions{globals: g}
	cmd := &cobra.Command{
		Use:   "cert device NAME",
		Short: "Make a client certificate for a device's agent",
		Long: `Makes a key and a client certificate with which an agent, or curl, speaks to the gateway as the device, and writes
NAME.crt and NAME.key. Files that exist are not overwritten. In the folder of a running "starter dev" its certificate
authority is found; elsewhere name yours.`,
		Example: `  starter cert device web-7
  starter cert device web-7 --dir certs --days 365
  starter cert device/web-7 --ca-cert ca.crt --ca-key ca.key`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: g.completeTargets(deviceKind),
		RunE:              run(o.run),
	}
	flags := cmd.Flags()
	flags.StringVar(&o.caCert, "ca-cert", "", "PEM `file` of the authority's certificate (default $"+envCACert+")")
	flags.StringVar(&o.caKey, "ca-key", "", "PEM `file` of its key (default $"+envCAKey+")")
	flags.StringVar(&o.dir, "dir", ".", "`directory` to write to")
	flags.IntVar(&o.days, "days", 30, "how many `days` it is valid")
	return cmd
}

func (o *certOptions) run(_ context.Context, args []string) error {
	name, err := parseDevice(args)
	if err != nil {
		return err
	}
	if strings.ContainsAny(name, `/\`) || !filepath.IsLocal(name) {
		return usagef("%q cannot be the name of a file", name)
	}
	if o.days < 1 {
		return usagef("--days %d: a certificate is valid for a day at least", o.days)
	}
	ca, err := o.authority()
	if err != nil {
		return err
	}
	pair, err := ca.Device(name, time.Duration(o.days)*24*time.Hour)
	if err != nil {
		return err
	}
	base := filepath.Join(o.dir, name)
	if err := pair.Write(o.here(base+".crt"), o.here(base+".key")); err != nil {
		return fmt.Errorf("write the certificate of device %q: %w", name, err)
	}
	_, err = fmt.Fprintf(o.io.Stdout, "device/%s: wrote %s.crt and %s.key, valid for %d days%s\n", name, base, base, o.days, o.usage(name, base))
	return err
}

// authority is the one of the flags, or else of the environment, which a running `starter dev` sets.
func (o *certOptions) authority() (*authority.CA, error) {
	if err := o.findDev(); err != nil {
		return nil, err
	}
	for value, env := range map[*string]string{&o.caCert: envCACert, &o.caKey: envCAKey} {
		if *value == "" {
			*value, _ = o.io.Env(env)
		}
		if *value == "" {
			return nil, fmt.Errorf("no certificate authority is known: set --ca-cert and --ca-key (or %s and %s), or run the command in the folder of a running `starter dev`", envCACert, envCAKey)
		}
	}
	return authority.Load(o.here(o.caCert), o.here(o.caKey))
}

// usage is a command to paste that reconnects the device, where a gateway is known.
func (o *certOptions) usage(name, base string) string {
	url, ok := o.io.Env(envGatewayURL)
	if !ok || url == "" {
		return ""
	}
	return fmt.Sprintf("; to report version 7 with it\n  curl --cacert %s --cert %s.crt --key %s.key %s",
		quote(o.caCert), quote(base), quote(base), quote(url+"/api/v1/devices/"+name+"/rendered?knownRenderedVersion=7"))
}

// here is path as seen from the folder that the command runs in.
func (o *certOptions) here(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(o.io.Dir, path)
}
