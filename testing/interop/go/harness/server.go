// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

// Package harness starts, kills and restarts the server under test.
package harness

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// ServerVariable names the environment variable with the server's path.
const ServerVariable = "SERVER_UNDER_TEST"

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 60 * time.Second
)

// Options of one server. Empty credentials mean a plain server.
type Options struct {
	Username, Password string
	DataPath           string   // "": a directory that goes with the test
	Flags              []string // further flags
}

// Server is a running server process.
type Server struct {
	Address  string // 127.0.0.1:port, the same over all restarts
	DataPath string

	t       testing.TB
	options Options
	port    int
	process *exec.Cmd
	exited  chan struct{} // closed when the process ended
	log     *lockedBuffer
}

type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// Binary gives the server's path; without it the test fails, it is not skipped.
func Binary(t testing.TB) string {
	t.Helper()
	path := os.Getenv(ServerVariable)
	if path == "" {
		t.Fatalf("set %s to the server's path, or use run.sh, which does", ServerVariable)
	}
	return path
}

func freePort(t testing.TB) int {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// Start runs a server until the test ends and waits until it accepts
// connections. What it logged is shown when the test fails.
func Start(t testing.TB, options Options) *Server {
	t.Helper()
	s := &Server{t: t, options: options, DataPath: options.DataPath, log: &lockedBuffer{}}
	if s.DataPath == "" {
		s.DataPath = t.TempDir()
	}
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("the server's log:\n%s", lastLines(s.log.String(), 60))
		}
	})
	// Somebody else may take the port between asking for it and using it.
	for attempt := 0; ; attempt++ {
		s.port = freePort(t)
		s.Address = fmt.Sprintf("127.0.0.1:%d", s.port)
		err := s.run()
		if err == nil {
			return s
		}
		if attempt == 2 || !strings.Contains(strings.ToLower(s.log.String()), "in use") {
			t.Fatalf("%v\n%s", err, s.log.String())
		}
	}
}

func lastLines(text string, count int) string {
	lines := strings.Split(text, "\n")
	return strings.Join(lines[max(0, len(lines)-count):], "\n")
}

// Arguments the server is started with.
func (s *Server) Arguments() []string {
	arguments := []string{
		fmt.Sprintf("--port=localhost:%d", s.port),
		"--data-path=" + s.DataPath,
	}
	if s.options.Username != "" {
		arguments = append(arguments, "--username="+s.options.Username, "--password="+s.options.Password)
	}
	return append(arguments, s.options.Flags...)
}

// Command is the server with arguments, not started yet. Its own defaults apply,
// whatever the caller's shell has set.
func Command(t testing.TB, arguments ...string) *exec.Cmd {
	t.Helper()
	process := exec.Command(Binary(t), arguments...)
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "ALOS_") {
			process.Env = append(process.Env, variable)
		}
	}
	return process
}

func (s *Server) run() error {
	process := Command(s.t, s.Arguments()...)
	process.Stdout, process.Stderr = s.log, s.log
	// The server must not outlive a test run that was killed.
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := process.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		process.Wait()
		close(exited)
	}()
	s.process, s.exited = process, exited
	deadline := time.Now().Add(startTimeout)
	for time.Now().Before(deadline) {
		select {
		case <-exited:
			return fmt.Errorf("the server ended at start: %v", process.ProcessState)
		default:
		}
		conn, err := net.DialTimeout("tcp4", s.Address, time.Second)
		if err == nil {
			conn.Close()
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return errors.New("the server does not accept connections")
}

// Pid of the running process.
func (s *Server) Pid() int { return s.process.Process.Pid }

// Log is what the server printed so far.
func (s *Server) Log() string { return s.log.String() }

// Running says whether the process is alive.
func (s *Server) Running() bool {
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

// Kill ends the process at once, as `kill -9` does.
func (s *Server) Kill() {
	if s.process == nil {
		return
	}
	s.process.Process.Kill()
	<-s.exited
}

// Stop asks the process to end and returns its exit status.
func (s *Server) Stop() int {
	s.t.Helper()
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	select {
	case <-s.exited:
	case <-time.After(stopTimeout):
		s.t.Fatalf("the server did not end within %v of SIGTERM", stopTimeout)
	}
	return s.process.ProcessState.ExitCode()
}

// Restart starts the server again on the same data and port.
func (s *Server) Restart() {
	s.t.Helper()
	if err := s.run(); err != nil {
		s.t.Fatalf("restart: %v\n%s", err, lastLines(s.log.String(), 60))
	}
}
