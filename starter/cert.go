package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"

	"rollcall/authority"
)

const (
	envGatewayURL = "ROLLCALL_GATEWAY_URL"
	envCACert     = "ROLLCALL_CA_CERT"
	envCAKey      = "ROLLCALL_CA_KEY"
)

type certOptions struct {
	*globals
	caCert, caKey, dir, suffix string
	days                       int
}

func newCertCommand(g *globals) *cobra.Command {
	o := &certOptions{globals: g}
	cmd := &cobra.Command{
		Use:   "cert (device NAME | enrollment)",
		Short: "Make a client certificate for a device's agent, or one to enroll with",
		Long: `Makes a key and a client certificate with which an agent, or curl, speaks to the gateway, and writes both to files. That of a
device (NAME.crt, NAME.key) speaks as this device. That for enrollment (client-enrollment.crt, client-enrollment.key) is a
bootstrap certificate: agents that have none of their own share it, to ask for one and for nothing else. Files that exist are
not overwritten. In the folder of a running "starter dev" its certificate authority is found; elsewhere name yours.`,
		Example: `  starter cert device web-7
  starter cert device web-7 --dir certs --days 365
  starter cert device/web-7 --ca-cert ca.crt --ca-key ca.key
  starter cert enrollment --suffix berlin`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: g.completeTargets(deviceKind),
		RunE:              run(o.run),
	}
	flags := cmd.Flags()
	flags.StringVar(&o.caCert, "ca-cert", "", "PEM `file` of the authority's certificate (default $"+envCACert+")")
	flags.StringVar(&o.caKey, "ca-key", "", "PEM `file` of its key (default $"+envCAKey+")")
	flags.StringVar(&o.dir, "dir", ".", "`directory` to write to")
	flags.StringVar(&o.suffix, "suffix", "", "`word` that tells a certificate to enroll with from others, as in client-enrollment-berlin")
	flags.IntVar(&o.days, "days", 30, "how many `days` it is valid")
	return cmd
}

func (o *certOptions) run(_ context.Context, args []string) error {
	enrolls := slices.Equal(args, []string{"enrollment"})
	name := ""
	var err error
	if enrolls {
		name, err = o.enrollmentName()
	} else {
		name, err = o.deviceName(args)
	}
	if err != nil {
		return err
	}
	if o.days < 1 {
		return usagef("--days %d: a certificate is valid for a day at least", o.days)
	}
	ca, err := o.authority()
	if err != nil {
		return err
	}
	issue, what, usage := ca.Device, "device/"+name, o.usage
	if enrolls {
		issue = func(_ string, lifetime time.Duration) (authority.Pair, error) {
			return ca.Enrollment(o.suffix, lifetime)
		}
		what, usage = name, o.enrollmentUsage
	}
	pair, err := issue(name, time.Duration(o.days)*24*time.Hour)
	if err != nil {
		return err
	}
	base := filepath.Join(o.dir, name)
	if err := pair.Write(o.here(base+".crt"), o.here(base+".key")); err != nil {
		return fmt.Errorf("write the certificate of %q: %w", name, err)
	}
	_, err = fmt.Fprintf(o.io.Stdout, "%s: wrote %s.crt and %s.key, valid for %d days%s\n", what, base, base, o.days, usage(name, base))
	return err
}

func (o *certOptions) deviceName(args []string) (string, error) {
	name, err := parseDevice(args)
	switch {
	case err != nil:
		return "", err
	case o.suffix != "":
		return "", usagef("--suffix is for a certificate to enroll with: starter cert enrollment")
	case strings.ContainsAny(name, `/\`) || !filepath.IsLocal(name):
		return "", usagef("%q cannot be the name of a file", name)
	}
	return name, nil
}

// enrollmentName is the common name of a bootstrap certificate.
func (o *certOptions) enrollmentName() (string, error) {
	if o.suffix == "" {
		return authority.EnrollmentCN, nil
	}
	if wrong := validation.IsDNS1123Label(o.suffix); len(wrong) > 0 {
		return "", usagef("--suffix %q: %s", o.suffix, strings.Join(wrong, "; "))
	}
	return authority.EnrollmentCN + "-" + o.suffix, nil
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

// enrollmentUsage is a command to paste that posts a request, where a gateway is known.
func (o *certOptions) enrollmentUsage(_, base string) string {
	url, ok := o.io.Env(envGatewayURL)
	if !ok || url == "" {
		return ""
	}
	return fmt.Sprintf("; to post a request with it\n  curl --cacert %s --cert %s.crt --key %s.key --data @request.json %s",
		quote(o.caCert), quote(base), quote(base), quote(url+"/api/v1/enrollmentrequests"))
}

// here is path as seen from the folder that the command runs in.
func (o *certOptions) here(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(o.io.Dir, path)
}
