// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"alos.test/interop/harness"
	"alos.test/interop/wire"

	"github.com/vmihailenco/msgpack/v5"
)

const poolSize = 16

func TestPoolOfSixteenAtOnce(t *testing.T) {
	const writers, each = 48, 60
	eachTransport(t, func(t *testing.T, options wire.Options) {
		pool, err := wire.NewPool(options, poolSize)
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close()
		var group sync.WaitGroup
		for w := range writers {
			group.Add(1)
			go func() {
				defer group.Done()
				for i := range each {
					id := fmt.Sprintf("%02d-%03d", w, i)
					doc := encode(t, Doc{"_id": id, "writer": w, "text": strings.Repeat(id, 20)})
					if _, err := pool.Call(wire.OpInsertOne, "pool", msgpack.RawMessage(doc)); err != nil {
						t.Errorf("insert %s: %v", id, err)
						return
					}
					// Another connection sees it at once.
					raw, err := pool.Call(wire.OpFindByID, "pool", Doc{"id": id})
					if err != nil || !bytes.Equal(raw, doc) {
						t.Errorf("read %s: % x, %v", id, raw[:min(len(raw), 40)], err)
						return
					}
					if _, err := pool.Call(wire.OpUpdateOne, "pool",
						Doc{"filter": Doc{"_id": "counter"}, "update": Doc{"$inc": Doc{"n": 1}}}); err != nil {
						t.Errorf("count: %v", err)
					}
				}
			}()
			if w == 0 {
				if _, err := pool.Call(wire.OpUpsertOne, "pool",
					Doc{"filter": Doc{"_id": "counter"}, "update": Doc{"$set": Doc{"made": true}}}); err != nil {
					t.Fatal(err)
				}
			}
		}
		group.Wait()
		s := dial(t, options)
		s.collection = "pool"
		if n := s.count(wire.OpCount, Doc{}); n != writers*each+1 {
			t.Errorf("%d documents, want %d", n, writers*each+1)
		}
		for w := range writers {
			if n := decode[map[string]int](t, s.must(wire.OpFindManyCount, Doc{"query": Doc{"writer": w}}))["n"]; n != each {
				t.Errorf("writer %d: %d documents", w, n)
			}
		}
	})
}

// Increments from many connections are all counted.
func TestConcurrentIncrementsAreNotLost(t *testing.T) {
	server, s := plain(t)
	s.insert(Doc{"_id": "counter", "n": 0})
	pool, err := wire.NewPool(wire.Options{Address: server.Address}, poolSize)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var group sync.WaitGroup
	for range poolSize {
		group.Add(1)
		go func() {
			defer group.Done()
			for range 100 {
				if _, err := pool.Call(wire.OpUpdateOne, s.collection,
					Doc{"filter": Doc{"_id": "counter"}, "update": Doc{"$inc": Doc{"n": 1}}}); err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	group.Wait()
	if got := s.docByID("counter"); fmt.Sprint(got["n"]) != strconv.Itoa(poolSize*100) {
		t.Errorf("counted %v", got["n"])
	}
}

// Writers run against the server while it is killed; whatever was acknowledged
// is there after the restart, in both durability modes, round after round.
func TestAcknowledgedWritesSurviveKill(t *testing.T) {
	for _, mode := range []string{"async", "sync"} {
		t.Run(mode, func(t *testing.T) {
			server := harness.Start(t, harness.Options{Username: username, Password: password,
				Flags: []string{"--sync-mode=" + mode}})
			options := wire.Options{Address: server.Address, Version: wire.VersionAEGIS128L,
				Username: username, Password: password, Timeout: 10 * time.Second}
			pool, err := wire.NewPool(options, poolSize)
			if err != nil {
				t.Fatal(err)
			}
			defer pool.Close()
			acknowledged := map[string][]byte{}
			for round := range 3 {
				var mu sync.Mutex
				var group sync.WaitGroup
				stop := make(chan struct{})
				for w := range poolSize {
					group.Add(1)
					go func() {
						defer group.Done()
						for i := 0; ; i++ {
							select {
							case <-stop:
								return
							default:
							}
							id := fmt.Sprintf("%d-%d-%d", round, w, i)
							doc := encode(t, Doc{"_id": id, "round": round, "pad": strings.Repeat("p", i%700)})
							if _, err := pool.Call(wire.OpInsertOne, "kept", msgpack.RawMessage(doc)); err != nil {
								var serverError *wire.ServerError
								if errors.As(err, &serverError) {
									t.Errorf("insert: %v", err)
								}
								return // the server is gone
							}
							mu.Lock()
							acknowledged[id] = doc
							mu.Unlock()
						}
					}()
				}
				enough := func() bool {
					mu.Lock()
					defer mu.Unlock()
					return len(acknowledged) >= (round+1)*500
				}
				for deadline := time.Now().Add(60 * time.Second); !enough(); {
					if time.Now().After(deadline) {
						t.Fatal("500 inserts took a minute")
					}
					time.Sleep(time.Millisecond)
				}
				server.Kill() // in the middle of it
				close(stop)
				group.Wait()
				server.Restart()

				// The pool dials anew by itself; its first call on each connection may fail.
				for range 2 * poolSize {
					pool.Call(wire.OpCount, "kept", Doc{})
				}
				for id, doc := range acknowledged {
					raw, err := pool.Call(wire.OpFindByID, "kept", Doc{"id": id})
					if err != nil {
						t.Fatalf("read %s: %v", id, err)
					}
					if !bytes.Equal(raw, doc) {
						t.Fatalf("round %d: %s was acknowledged and reads % x", round, id, raw[:min(len(raw), 40)])
					}
				}
				t.Logf("round %d: %d acknowledged documents are all there", round, len(acknowledged))
			}
		})
	}
}

func TestEverythingIsThereAfterAGracefulStop(t *testing.T) {
	server, s := plain(t)
	s.insertMany(numbered(2000))
	s.count(wire.OpDeleteMany, Doc{"filter": Doc{"n": Doc{"$gte": 1500}}})
	s.count(wire.OpUpdateMany, Doc{"filter": Doc{"even": true}, "update": Doc{"$set": Doc{"changed": true}}})
	if _, err := s.Call(wire.OpCreateCollection, "", Doc{"name": "empty"}); err != nil {
		t.Fatal(err)
	}
	idle := dial(t, s.Options) // an idle connection does not hold the server up
	if status := server.Stop(); status != 0 {
		t.Errorf("exit status %d after SIGTERM", status)
	}
	idle.Close()
	server.Restart()
	again := dial(t, s.Options)
	again.collection = s.collection
	if n := again.count(wire.OpCount, Doc{}); n != 1500 {
		t.Errorf("%d documents", n)
	}
	if n := len(again.find(Doc{"changed": true})); n != 750 {
		t.Errorf("%d changed documents", n)
	}
	if !decode[map[string]bool](t, again.must(wire.OpCollectionExists, Doc{"name": "empty"}))["exists"] {
		t.Error("the empty collection is gone")
	}
}

func TestASecondServerOnTheSameDirectoryIsRefused(t *testing.T) {
	server, _ := plain(t)
	arguments := server.Arguments()
	arguments[0] = "--port=localhost:0"
	output, err := harness.Command(t, arguments...).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() <= 0 {
		t.Fatalf("the second server ended with %v:\n%s", err, output)
	}
	if !strings.Contains(string(output), strconv.Itoa(server.Pid())) {
		t.Errorf("the message does not name the holder, process %d:\n%s", server.Pid(), output)
	}
	if !server.Running() {
		t.Error("the first server is gone")
	}
}
