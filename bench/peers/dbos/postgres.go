package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// errMissing says that there is no PostgreSQL on this machine.
var errMissing = errors.New("there is no PostgreSQL: apt-get install postgresql")

// postgres is a database server of this process's own, over a folder that goes with it. It is as Debian configures it: what it has acknowledged is
// on disk.
type postgres struct {
	dir     string
	url     string
	command *exec.Cmd
	ended   chan error
}

// startWithin bounds how long the server may take until it answers.
const startWithin = time.Minute

// startPostgres makes a database and starts a server for it, as user postgres where this process is root's, which PostgreSQL refuses.
func startPostgres() (_ *postgres, err error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return nil, errMissing
	}
	bin := filepath.Dir(slices.Max(found))
	p := &postgres{ended: make(chan error, 1)}
	if p.dir, err = os.MkdirTemp("", "weft-peer-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.stop())
		}
	}()
	attributes := &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() == 0 {
		if attributes.Credential, err = p.handOver(); err != nil {
			return nil, err
		}
	}
	data := filepath.Join(p.dir, "data")
	initialize := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-locale")
	initialize.SysProcAttr, initialize.Dir = attributes, p.dir
	if said, err := initialize.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make a database: %w: %s", err, said)
	}
	command := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-k", p.dir, "-c", "listen_addresses=")
	command.SysProcAttr, command.Dir = attributes, p.dir
	log, err := os.Create(filepath.Join(p.dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	p.command = command
	go func() { p.ended <- command.Wait() }()
	p.url = "postgres://postgres@/postgres?sslmode=disable&host=" + p.dir
	return p, p.ready()
}

// handOver gives the folder to the user that the server runs as.
func (p *postgres) handOver() (*syscall.Credential, error) {
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errMissing, err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, os.Chown(p.dir, uid, gid)
}

// ready waits until the server answers.
func (p *postgres) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	for {
		c, err := pgx.Connect(ctx, p.url)
		if err == nil {
			return c.Close(ctx)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("PostgreSQL does not answer: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop ends the server and removes its folder. SIGINT is PostgreSQL's fast shutdown.
func (p *postgres) stop() error {
	var errs []error
	if p.command != nil {
		errs = append(errs, p.command.Process.Signal(syscall.SIGINT), <-p.ended)
	}
	return errors.Join(append(errs, os.RemoveAll(p.dir))...)
}
