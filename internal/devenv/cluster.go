package devenv

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const (
	dataDir      = "data"
	passwordFile = "password"
	superuser    = "rollcall"
)

// cluster is a PostgreSQL cluster on disk, locked by us.
type cluster struct {
	dir      string
	bin      string
	user     *account
	password string
	durable  bool
	lock     *os.File
	log      *serverLog
}

// openCluster finds or creates the cluster of cfg.Dir, and locks it.
func openCluster(ctx context.Context, cfg PostgresConfig) (*cluster, error) {
	bin, err := FindPostgres()
	if err != nil {
		return nil, err
	}
	c := &cluster{bin: bin, durable: cfg.Durable}
	if c.user, err = unprivileged(); err != nil {
		return nil, err
	}
	if c.dir, err = place(cfg.Dir, c.user); err != nil {
		return nil, err
	}
	c.lock, err = waitForLock(ctx, filepath.Join(c.dir, "lock"))
	if errors.Is(err, errLocked) {
		return nil, fmt.Errorf("start PostgreSQL: a server still runs on %s: %w", c.dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	if err := c.prepare(cfg.Log); err != nil {
		c.lock.Close()
		return nil, err
	}
	return c, nil
}

func (c *cluster) prepare(log io.Writer) error {
	var err error
	if c.log, err = openLog(log, c.dir); err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	if err := c.readPassword(); err != nil {
		return err
	}
	if exists(filepath.Join(c.dir, dataDir)) {
		return c.forgetDeadServer()
	}
	return c.initialise()
}

func (c *cluster) readPassword() error {
	path := filepath.Join(c.dir, passwordFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		c.password = rand.Text()
		return c.writePassword(path)
	}
	if err != nil {
		return fmt.Errorf("read PostgreSQL's password: %w", err)
	}
	c.password = strings.TrimSpace(string(text))
	return nil
}

func (c *cluster) writePassword(path string) error {
	err := os.WriteFile(path, []byte(c.password+"\n"), 0o600)
	if err == nil && c.user != nil {
		err = os.Chown(path, int(c.user.uid), int(c.user.gid))
	}
	if err != nil {
		return fmt.Errorf("write PostgreSQL's password: %w", err)
	}
	return nil
}

// initialise creates the cluster beside its place and moves it there, so that an interrupted attempt is not taken for
// one.
func (c *cluster) initialise() error {
	unfinished := filepath.Join(c.dir, dataDir+".new")
	if err := os.RemoveAll(unfinished); err != nil {
		return fmt.Errorf("create PostgreSQL cluster: %w", err)
	}
	args := []string{
		"-D", unfinished, "--username=" + superuser, "--pwfile=" + filepath.Join(c.dir, passwordFile),
		"--auth=scram-sha-256", "--encoding=UTF8", "--locale=C",
	}
	if !c.durable {
		args = append(args, "--no-sync")
	}
	init, err := start(program{
		name: "initdb", path: filepath.Join(c.bin, "initdb"), args: args, user: c.user,
		end: sigTerminate, lock: c.lock, log: c.log, ignore: "PG",
	})
	if err != nil {
		return err
	}
	<-init.done
	if init.err != nil {
		return fmt.Errorf("create PostgreSQL cluster in %s: %w%s", c.dir, init.err, init.log)
	}
	if err := os.Rename(unfinished, filepath.Join(c.dir, dataDir)); err != nil {
		return fmt.Errorf("create PostgreSQL cluster: %w", err)
	}
	return nil
}

// forgetDeadServer removes what a killed server left to say that it runs: after a reboot its process id can be someone
// else's, and PostgreSQL would refuse to start. That we hold the lock proves that it runs no more.
func (c *cluster) forgetDeadServer() error {
	err := os.Remove(filepath.Join(c.dir, dataDir, "postmaster.pid"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	return nil
}
