// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"alos.test/interop/harness"
	"alos.test/interop/wire"

	"github.com/vmihailenco/msgpack/v5"
)

type Doc = wire.Doc

const (
	username = "admin"
	password = "pässwörd 秘密"
)

// session is a connection whose errors fail the test, and a collection of its own.
type session struct {
	*wire.Conn
	t          testing.TB
	collection string
}

var collectionCount atomic.Int64

func dial(t testing.TB, options wire.Options) *session {
	t.Helper()
	conn, err := wire.Dial(options)
	if err != nil {
		t.Fatalf("dial %s: %v", options.Version, err)
	}
	t.Cleanup(func() { conn.Close() })
	return &session{conn, t, fmt.Sprintf("c%d", collectionCount.Add(1))}
}

// must runs an operation that has to succeed on this session's collection.
func (s *session) must(op wire.Op, args any) msgpack.RawMessage {
	s.t.Helper()
	result, err := s.Call(op, s.collection, args)
	if err != nil {
		s.t.Fatalf("op %d: %v", op, err)
	}
	return result
}

// refused runs an operation that must be answered with an error that has all of `words`.
func (s *session) refused(op wire.Op, args any, words ...string) string {
	s.t.Helper()
	result, err := s.Call(op, s.collection, args)
	var serverError *wire.ServerError
	if !errors.As(err, &serverError) {
		s.t.Fatalf("op %d with %v: result %x, error %v; want an error from the server", op, args, result, err)
	}
	for _, word := range words {
		if !strings.Contains(strings.ToLower(serverError.Message), strings.ToLower(word)) {
			s.t.Errorf("op %d: the error %q does not mention %q", op, serverError.Message, word)
		}
	}
	return serverError.Message
}

func decode[T any](t testing.TB, raw []byte) (value T) {
	t.Helper()
	if err := msgpack.Unmarshal(raw, &value); err != nil {
		t.Fatalf("result % x: %v", raw, err)
	}
	return value
}

func encode(t testing.TB, value any) []byte {
	t.Helper()
	raw, err := wire.Encode(value)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func (s *session) count(op wire.Op, args any) int {
	s.t.Helper()
	result := decode[map[string]int](s.t, s.must(op, args))
	count, found := result["count"]
	if !found {
		s.t.Fatalf("op %d: no count in %v", op, result)
	}
	// Old and new clients read different names for the same number.
	if other, wanted := map[wire.Op]string{
		wire.OpUpdateOne: "updated", wire.OpUpdateMany: "updated",
		wire.OpDeleteOne: "deleted", wire.OpDeleteMany: "deleted",
	}[op]; wanted {
		if value, found := result[other]; !found || value != count {
			s.t.Fatalf("op %d: %q is missing or differs in %v", op, other, result)
		}
	}
	return count
}

func (s *session) insert(doc any) string {
	s.t.Helper()
	id := decode[map[string]any](s.t, s.must(wire.OpInsertOne, doc))["id"]
	text, isText := id.(string)
	if !isText || text == "" {
		s.t.Fatalf("inserted id is %v", id)
	}
	return text
}

// byID gives a document's bytes, nil if there is none.
func (s *session) byID(id any) []byte {
	s.t.Helper()
	raw := s.must(wire.OpFindByID, Doc{"id": id})
	if bytes.Equal(raw, []byte{0xc0}) {
		return nil
	}
	if len(raw) == 0 {
		s.t.Fatalf("FindByID %v: the result is absent; the published client needs a nil there", id)
	}
	return raw
}

func (s *session) docByID(id any) Doc {
	s.t.Helper()
	raw := s.byID(id)
	if raw == nil {
		return nil
	}
	return decode[Doc](s.t, raw)
}

func (s *session) find(query Doc) []Doc {
	s.t.Helper()
	return decode[[]Doc](s.t, s.must(wire.OpFind, Doc{"query": query}))
}

func ids(docs []Doc) (out []any) {
	for _, doc := range docs {
		out = append(out, doc["_id"])
	}
	return out
}

// insertMany sends documents as the published client does: their bytes back to
// back, with n+1 offsets.
func insertManyArgs(t testing.TB, docs []Doc) Doc {
	t.Helper()
	blob := []byte{}
	ids, offsets := []string{}, []uint32{}
	for _, doc := range docs {
		id, _ := doc["_id"].(string)
		ids = append(ids, id)
		offsets = append(offsets, uint32(len(blob)))
		blob = append(blob, encode(t, doc)...)
	}
	return Doc{"ids": ids, "blob": blob, "offsets": append(offsets, uint32(len(blob)))}
}

func (s *session) insertMany(docs []Doc) []string {
	s.t.Helper()
	result := decode[map[string][]string](s.t, s.must(wire.OpInsertMany, insertManyArgs(s.t, docs)))
	if len(result["ids"]) != len(docs) {
		s.t.Fatalf("%d ids for %d documents", len(result["ids"]), len(docs))
	}
	return result["ids"]
}

// numbered makes n documents {_id: "00000"…, n: 0…}.
func numbered(n int) []Doc {
	docs := make([]Doc, n)
	for i := range docs {
		docs[i] = Doc{"_id": fmt.Sprintf("%05d", i), "n": i, "even": i%2 == 0}
	}
	return docs
}

// clientID makes an id as the published client does: 60 letters.
func clientID() string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	id := make([]byte, 60)
	for i := range id {
		id[i] = letters[rand.IntN(len(letters))]
	}
	return string(id)
}

// eachTransport runs a test over a plain and both encrypted connections.
func eachTransport(t *testing.T, test func(t *testing.T, options wire.Options)) {
	t.Helper()
	t.Run("plain", func(t *testing.T) {
		server := harness.Start(t, harness.Options{})
		test(t, wire.Options{Address: server.Address})
	})
	for _, version := range []wire.Version{wire.VersionAES256GCM, wire.VersionAEGIS128L} {
		t.Run(version.String(), func(t *testing.T) {
			server := harness.Start(t, harness.Options{Username: username, Password: password})
			test(t, wire.Options{Address: server.Address, Version: version, Username: username,
				Password: password, CompactInts: version == wire.VersionAEGIS128L})
		})
	}
}

// plain starts a plain server and connects once.
func plain(t *testing.T) (*harness.Server, *session) {
	t.Helper()
	server := harness.Start(t, harness.Options{})
	return server, dial(t, wire.Options{Address: server.Address})
}

func readFile(path string) (string, error) {
	text, err := os.ReadFile(path)
	return string(text), err
}
