// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"alos.test/interop/harness"
	"alos.test/interop/wire"
)

func secured(t *testing.T) (*harness.Server, wire.Options) {
	t.Helper()
	server := harness.Start(t, harness.Options{Username: username, Password: password})
	return server, wire.Options{Address: server.Address, Version: wire.VersionAEGIS128L,
		Username: username, Password: password}
}

// closed fails unless the server ends the connection without another byte.
func closed(t *testing.T, conn net.Conn, why string) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	rest, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s: the connection stays open", why)
	}
	if len(rest) != 0 {
		t.Errorf("%s: the server said % x", why, rest[:min(len(rest), 64)])
	}
}

func rawDial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func alive(t *testing.T, options wire.Options) {
	t.Helper()
	s := dial(t, options)
	id := s.insert(Doc{"alive": true})
	if got := s.docByID(id); got["alive"] != true {
		t.Errorf("read %v", got)
	}
}

func TestWrongPassword(t *testing.T) {
	_, options := secured(t)
	for _, version := range []wire.Version{wire.VersionAES256GCM, wire.VersionAEGIS128L} {
		wrong := options
		wrong.Version, wrong.Password = version, "wrong"
		if _, err := wire.Dial(wrong); !errors.Is(err, wire.ErrServerProof) {
			t.Errorf("%v: %v", version, err)
		}
	}
	alive(t, options)
}

// A client that does not mind the server's proof gets no further with its own.
func TestWrongProofEndsTheConnectionSilently(t *testing.T) {
	server, options := secured(t)
	for _, version := range []byte{1, 2} {
		conn := rawDial(t, server.Address)
		conn.Write(append([]byte{0xAE, version}, bytes.Repeat([]byte{version}, 32)...))
		answer := make([]byte, 64)
		if _, err := io.ReadFull(conn, answer); err != nil {
			t.Fatal(err)
		}
		conn.Write(answer[32:]) // the server's own proof is not the client's
		closed(t, conn, "the server's proof sent back")
	}
	// The server's salt is fresh every time.
	salts := map[string]bool{}
	for range 3 {
		conn := rawDial(t, server.Address)
		conn.Write(append([]byte{0xAE, 2}, make([]byte, 32)...))
		answer := make([]byte, 64)
		if _, err := io.ReadFull(conn, answer); err != nil {
			t.Fatal(err)
		}
		salts[string(answer[:32])] = true
		conn.Close()
	}
	if len(salts) != 3 {
		t.Error("the server's salt repeats")
	}
	alive(t, options)
}

func TestUnknownHandshakeVersionIsRefused(t *testing.T) {
	server, options := secured(t)
	for _, version := range []byte{0, 3, 255} {
		conn := rawDial(t, server.Address)
		conn.Write(append([]byte{0xAE, version}, make([]byte, 32)...))
		closed(t, conn, "an unknown version")
	}
	alive(t, options)
}

// With credentials configured, a plain request gets one answer and no second.
func TestPlainRequestsNeedAuthentication(t *testing.T) {
	_, options := secured(t)
	open := options
	open.Version, open.Username = wire.VersionPlain, ""
	s := dial(t, open)
	s.refused(wire.OpCount, Doc{}, "authentication required")
	closed(t, s.Raw(), "after the refusal")

	// Nor does a right token make a plain connection acceptable.
	open.Username = username
	s = dial(t, open)
	s.refused(wire.OpCount, Doc{}, "authentication required")
	alive(t, options)
}

// The published client opens a whole pool without credentials, never writes to
// it, opens a second one with the handshake, and closes the first.
func TestPoolThatNeverWritesIsHarmless(t *testing.T) {
	server, options := secured(t)
	var silent []net.Conn
	for range poolSize {
		silent = append(silent, rawDial(t, server.Address))
	}
	pool, err := wire.NewPool(options, poolSize)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	for _, conn := range silent {
		conn.Close()
	}
	for range 3 * poolSize {
		if _, err := pool.Call(wire.OpInsertOne, "pool", Doc{"_id": clientID()}); err != nil {
			t.Fatal(err)
		}
	}
}

// The `auth` field is checked on an encrypted connection too.
func TestWrongTokenIsRefused(t *testing.T) {
	_, options := secured(t)
	s := dial(t, options)
	request := s.NewRequest(wire.OpCount, s.collection, Doc{})
	request.Auth = wire.AuthToken(username, "another")
	if err := s.Send(request); err != nil {
		t.Fatal(err)
	}
	response, err := s.Receive()
	if err == nil && !strings.Contains(strings.ToLower(response.Error), "auth") {
		t.Errorf("a wrong token got %+v", response)
	}
	// Without the field the handshake is proof enough.
	s = dial(t, options)
	request = s.NewRequest(wire.OpCount, s.collection, Doc{})
	request.Auth = ""
	if err := s.Send(request); err != nil {
		t.Fatal(err)
	}
	if response, err = s.Receive(); err != nil || response.Error != "" {
		t.Errorf("without a token: %+v, %v", response, err)
	}
}

func TestSealedFramesAreCounted(t *testing.T) {
	_, options := secured(t)
	for _, version := range []wire.Version{wire.VersionAES256GCM, wire.VersionAEGIS128L} {
		t.Run(version.String(), func(t *testing.T) {
			options := options
			options.Version = version
			s := dial(t, options)
			for want := uint64(1); want <= 5; want++ {
				s.count(wire.OpCount, Doc{})
				if got := s.ReceiveSealer().Counter(); got != want {
					t.Errorf("response %d has counter %d", want, got)
				}
			}
			// A jump ahead is no replay.
			s.SendSealer().SetCounter(1000)
			s.count(wire.OpCount, Doc{})
			// The same frame again is.
			s.SendSealer().SetCounter(1000)
			if err := s.Send(s.NewRequest(wire.OpCount, s.collection, Doc{})); err != nil {
				t.Fatal(err)
			}
			closed(t, s.Raw(), "a replayed counter")
		})
	}
	alive(t, options)
}

func TestTamperedFramesEndTheConnection(t *testing.T) {
	_, options := secured(t)
	for _, version := range []wire.Version{wire.VersionAES256GCM, wire.VersionAEGIS128L} {
		options := options
		options.Version = version
		for position := range 60 {
			s := dial(t, options)
			payload := encode(t, s.NewRequest(wire.OpCount, s.collection, Doc{}))
			sealed := s.SendSealer().Seal(payload)
			if position >= len(sealed) {
				break
			}
			sealed[position] ^= 1 << rand.IntN(8)
			if _, err := s.Raw().Write(wire.Frame(sealed)); err != nil {
				t.Fatal(err)
			}
			closed(t, s.Raw(), "a tampered frame")
			s.Close()
		}
	}
	alive(t, options)
}

func TestFramesTooShortToBeSealed(t *testing.T) {
	_, options := secured(t)
	for size := range 33 {
		s := dial(t, options)
		if _, err := s.Raw().Write(wire.Frame(make([]byte, size))); err != nil {
			t.Fatal(err)
		}
		closed(t, s.Raw(), "a frame too short")
		s.Close()
	}
	alive(t, options)
}
