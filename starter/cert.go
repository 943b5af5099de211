package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"

	"rollcall/internal/authority"
	"rollcall/inventory/credentials"
	"rollcall/runbook"
	"rollcall/starter/devstack"
	"rollcall/starter/printer"
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
		Long: `Makes a key and a client certificate with which an agent, or curl, speaks to the gateway, and writes both to
files. That of a device (NAME.crt, NAME.key) speaks as this device. That for enrollment (client-enrollment.crt,
client-enrollment.key) is a
bootstrap certificate: agents that have none of their own share it, to ask for one
and for nothing else. Files that exist are
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
	flags.StringVar(&o.caCert, "ca-cert", "", "PEM `file` of the authority's certificate (default $"+devstack.EnvCACert+
		")")
	flags.StringVar(&o.caKey, "ca-key", "", "PEM `file` of its key (default $"+devstack.EnvCAKey+")")
	flags.StringVar(&o.dir, "dir", ".", "`directory` to write to")
	flags.StringVar(&o.suffix, "suffix", "",
		"`word` that tells a certificate to enroll with from others, as in client-enrollment-berlin")
	flags.IntVar(&o.days, "days", 30, "how many `days` it is valid")
	cmd.AddCommand(newCertRevokeCommand(g))
	return cmd
}

type revokeOptions struct {
	*globals
	operator
	serial, key string
	undo, list  bool
	output      *printer.Format
}

func newCertRevokeCommand(g *globals) *cobra.Command {
	o := &revokeOptions{globals: g}
	cmd := &cobra.Command{
		Use:   "revoke (--serial HEX | --key SHA256 | --list)",
		Short: "Make gateways refuse a client certificate, or all certificates of a key",
		Long: `Makes every gateway of the organisation refuse a client certificate from its next call on: one certificate by
its serial number, or all certificates of a key by the
key's fingerprint, as "starter describe enrollmentrequest" shows it. It is for
certificates of devices and for those to enroll with. The agent keeps its certificate, is answered 403, and tries again.
A revocation is stored in the database with your name and reason. --undo takes it back.`,
		Example: `  starter cert revoke --serial $(openssl x509 -noout -serial -in web-7.crt | cut -d= -f2) --reason "stolen"
  starter cert revoke --serial 3F2A09C1 --reason "laptop stolen"
  starter cert revoke --key 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 --reason "device stolen"
  starter cert revoke --serial 3F2A09C1 --undo --reason "found again"
  starter cert revoke --list`,
		Args: cobra.NoArgs,
	}
	cmd.RunE = run(func(ctx context.Context, _ []string) error {
		if err := o.operator.complete(o.io, cmd); err != nil {
			return err
		}
		return o.run(ctx)
	})
	flags := cmd.Flags()
	flags.StringVar(&o.serial, "serial", "", "serial number of a certificate, in `hex`")
	flags.StringVar(&o.key, "key", "", "fingerprint of a key: the `SHA-256` of its SubjectPublicKeyInfo, in hex")
	flags.BoolVar(&o.undo, "undo", false, "take the revocation back")
	flags.BoolVar(&o.list, "list", false, "list what is revoked")
	cmd.MarkFlagsMutuallyExclusive("serial", "key", "list")
	cmd.MarkFlagsOneRequired("serial", "key", "list")
	cmd.MarkFlagsMutuallyExclusive("undo", "list")
	o.output = printer.BindFormat(cmd, printer.FormatJSON, printer.FormatYAML)
	o.operator.bind(cmd)
	return cmd
}

func (o *revokeOptions) run(ctx context.Context) error {
	r := credentials.Revocation{Revoked: !o.undo, By: o.as, Reason: o.reason}
	if !o.list {
		if err := o.read(&r); err != nil {
			return err
		}
	}
	store, orgID, err := o.openOrg(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	if o.list {
		revoked, err := credentials.List(ctx, store.DB(), orgID)
		if err != nil {
			return err
		}
		return o.output.Print(o.io.Stdout, revoked, func(w io.Writer) error { return printRevoked(w, revoked) })
	}
	r.OrgID = orgID
	changed, err := credentials.Store(ctx, store.DB(), r)
	if err != nil {
		return err
	}
	did := map[bool]string{true: "revoked", false: "no longer revoked"}[r.Revoked]
	if !changed {
		did += " already"
	}
	report := struct {
		credentials.Revocation
		Changed bool `json:"changed"`
	}{r, changed}
	return o.output.Print(o.io.Stdout, report, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s %s: %s\n", r.Kind, r.Value, did)
		return err
	})
}

// read reads what is to be revoked.
func (o *revokeOptions) read(r *credentials.Revocation) (err error) {
	if o.serial != "" {
		r.Kind = credentials.Serial
		r.Value, err = runbook.ParseSerial(o.serial)
	} else {
		r.Kind = credentials.Key
		r.Value, err = runbook.ParseFingerprint(o.key)
	}
	if err != nil {
		return usagef("--%s: %w", r.Kind, err)
	}
	return nil
}

func printRevoked(w io.Writer, revoked []credentials.Revocation) error {
	for _, r := range revoked {
		if _, err := fmt.Fprintf(w, "%s %s: revoked by %q on %s: %q\n", r.Kind, r.Value, r.By,
			r.At.UTC().Format(time.RFC3339), r.Reason); err != nil {
			return err
		}
	}
	return nil
}

func (o *certOptions) run(ctx context.Context, args []string) error {
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
	organisation, err := o.organisation(ctx)
	if err != nil {
		return err
	}
	lifetime := time.Duration(o.days) * 24 * time.Hour
	what, usage := "device/"+name, o.usage
	var pair authority.Pair
	if enrolls {
		what, usage = name, o.enrollmentUsage
		pair, err = ca.EnrollmentOf(organisation, o.suffix, lifetime)
	} else {
		pair, err = ca.DeviceOf(authority.Subject{Device: name, Organisation: organisation}, lifetime)
	}
	if err != nil {
		return err
	}
	base := filepath.Join(o.dir, name)
	if err := pair.Write(o.here(base+".crt"), o.here(base+".key")); err != nil {
		return fmt.Errorf("write the certificate of %q: %w", name, err)
	}
	_, err = fmt.Fprintf(o.io.Stdout, "%s: wrote %s.crt and %s.key, valid for %d days%s\n", what, base, base, o.days,
		usage(name, base))
	return err
}

// organisation is the UUID that the certificate carries. The database is asked only for an organisation that was named
// otherwise.
func (o *certOptions) organisation(ctx context.Context) (string, error) {
	if o.org == "" || uuid.Validate(o.org) == nil {
		return o.org, nil
	}
	store, err := o.openStore(ctx)
	if err != nil {
		return "", err
	}
	defer store.Close()
	return o.orgID(ctx, store)
}

func (o *certOptions) deviceName(args []string) (string, error) {
	name, err := parseDevice(args)
	switch {
	case err != nil:
		return "", err
	case o.suffix != "":
		return "", usagef("--suffix is for a certificate to enroll with: starter cert enrollment")
	}
	if wrong := validation.IsDNS1123Subdomain(name); len(wrong) > 0 {
		return "", usagef("%q is no device's name: %s", name, strings.Join(wrong, "; "))
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
	for value, env := range map[*string]string{&o.caCert: devstack.EnvCACert, &o.caKey: devstack.EnvCAKey} {
		if *value == "" {
			*value, _ = o.io.Env(env)
		}
		if *value == "" {
			return nil, fmt.Errorf("no certificate authority is known: set --ca-cert and --ca-key (or %s and %s), or run the "+
				"command in the folder of a running `starter dev`", devstack.EnvCACert, devstack.EnvCAKey)
		}
	}
	return authority.Load(o.here(o.caCert), o.here(o.caKey))
}

// usage is a command to paste that reconnects the device, where a gateway is known.
func (o *certOptions) usage(name, base string) string {
	url, ok := o.io.Env(devstack.EnvGatewayURL)
	if !ok || url == "" {
		return ""
	}
	return fmt.Sprintf("; to report version 7 with it\n  curl --cacert %s --cert %s.crt --key %s.key %s",
		printer.Quote(o.caCert), printer.Quote(base), printer.Quote(base),
		printer.Quote(url+"/api/v1/devices/"+name+"/rendered?knownRenderedVersion=7"))
}

// enrollmentUsage is a command to paste that posts a request, where a gateway is known.
func (o *certOptions) enrollmentUsage(_, base string) string {
	url, ok := o.io.Env(devstack.EnvGatewayURL)
	if !ok || url == "" {
		return ""
	}
	return fmt.Sprintf("; to post a request with it\n  curl --cacert %s --cert %s.crt --key %s.key --data @request.json "+
		"%s",
		printer.Quote(o.caCert), printer.Quote(base), printer.Quote(base), printer.Quote(url+"/api/v1/enrollmentrequests"))
}

// here is path as seen from the folder that the command runs in.
func (o *certOptions) here(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(o.io.Dir, path)
}
