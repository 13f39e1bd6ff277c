// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"alos.test/interop/wire"

	"github.com/vmihailenco/msgpack/v5"
)

// Payloads that are no request. The framing is whole, so the connection is
// answered with an error and goes on.
func TestMalformedRequestsAreAnswered(t *testing.T) {
	_, s := plain(t)
	s.insert(Doc{"_id": "x"})
	good := encode(t, s.NewRequest(wire.OpFindByID, s.collection, Doc{"id": "x"}))
	field := func(parts ...any) []byte { // a map of these keys and values
		var out bytes.Buffer
		encoder := msgpack.NewEncoder(&out)
		if err := encoder.EncodeMapLen(len(parts) / 2); err != nil {
			t.Fatal(err)
		}
		for _, part := range parts {
			if err := encoder.Encode(part); err != nil {
				t.Fatal(err)
			}
		}
		return out.Bytes()
	}
	payloads := map[string][]byte{
		"empty":                {},
		"nil":                  {0xc0},
		"the byte never used":  {0xc1},
		"an array":             {0x90},
		"a text":               encode(t, "request"),
		"an empty map":         {0x80},
		"bytes after the map":  append(bytes.Clone(good), 0xc0),
		"map of 2^32-1":        {0xdf, 0xff, 0xff, 0xff, 0xff},
		"array of 2^32-1":      append(bytes.Clone(good[:len(good)-1]), 0xdd, 0xff, 0xff, 0xff, 0xff),
		"string of 2^32-1":     {0x81, 0xdb, 0xff, 0xff, 0xff, 0xff, 'a'},
		"integer keys":         {0x81, 0x01, 0x02},
		"duplicate keys":       field("id", 1, "op", 9, "op", 9, "collection", "c", "args", Doc{}),
		"no op":                field("id", 1, "collection", "c", "args", Doc{}),
		"op a text":            field("id", 1, "op", "Count", "collection", "c", "args", Doc{}),
		"op 0":                 field("id", 1, "op", 0, "collection", "c", "args", Doc{}),
		"op 99":                field("id", 1, "op", 99, "collection", "c", "args", Doc{}),
		"op 1000":              field("id", 1, "op", 1000, "collection", "c", "args", Doc{}),
		"op -1":                field("id", 1, "op", -1, "collection", "c", "args", Doc{}),
		"collection a number":  field("id", 1, "op", 9, "collection", 5, "args", Doc{}),
		"database an array":    field("id", 1, "op", 9, "collection", "c", "database", []int{}, "args", Doc{}),
		"no args":              field("id", 1, "op", 10, "collection", "c"),
		"args a number":        field("id", 1, "op", 10, "collection", "c", "args", 5),
		"a collection of 10k":  field("id", 1, "op", 1, "collection", strings.Repeat("c", 10000), "args", Doc{"_id": "x"}),
		"nested 1000 deep":     field("id", 1, "op", 1, "collection", "c", "args", msgpack.RawMessage(append(append([]byte{0x81, 0xa1, 'a'}, bytes.Repeat([]byte{0x91}, 1000)...), 0x01))),
		"maps nested 100000":   field("id", 1, "op", 1, "collection", "c", "args", msgpack.RawMessage(append(bytes.Repeat([]byte{0x81, 0xa1, 'a'}, 100000), 0x01))),
		"filter nested":        field("id", 1, "op", 4, "collection", "c", "args", Doc{"query": msgpack.RawMessage(append(append([]byte{0x81}, bytes.Repeat([]byte{0xa4, '$', 'a', 'n', 'd', 0x91, 0x81}, 5000)...), 0xa1, 'a', 0x01))}),
		"an id of 10k":         field("id", 1, "op", 1, "collection", "c", "args", Doc{"_id": strings.Repeat("i", 10000)}),
		"batch within batch":   field("id", 1, "op", 15, "collection", "", "args", Doc{"requests": []any{msgpack.RawMessage(field("id", 2, "op", 15, "collection", "", "args", Doc{"requests": 5}))}}),
		"args of another op":   field("id", 1, "op", 2, "collection", "c", "args", Doc{"query": Doc{}}),
		"blob that is no doc":  field("id", 1, "op", 2, "collection", "c", "args", Doc{"ids": []string{"a"}, "blob": []byte{0xc1}, "offsets": []int{0, 1}}),
		"blob not a map":       field("id", 1, "op", 2, "collection", "c", "args", Doc{"ids": []string{"a"}, "blob": []byte{0x01}, "offsets": []int{0, 1}}),
		"negative offsets":     field("id", 1, "op", 2, "collection", "c", "args", Doc{"ids": []string{"a"}, "blob": []byte{0x80}, "offsets": []int{-1, 1}}),
		"two ids, one offset":  field("id", 1, "op", 2, "collection", "c", "args", Doc{"ids": []string{"a", "b"}, "blob": []byte{0x80}, "offsets": []int{0}}),
		"a regex of 100k":      field("id", 1, "op", 4, "collection", "c", "args", Doc{"query": Doc{"a": Doc{"$regex": strings.Repeat("a", 100000)}}}),
		"a limit that is text": field("id", 1, "op", 40, "collection", "c", "args", Doc{"query": Doc{}, "limit": "ten"}),
	}
	for cut := range good {
		payloads[fmt.Sprintf("cut at %d", cut)] = good[:cut]
	}
	for name, payload := range payloads {
		if err := s.WritePayload(payload); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		response, err := s.Receive()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		nested := name == "batch within batch" // its member fails, not the batch
		if response.Error == "" && !nested {
			t.Errorf("%s: no error, result % x", name, response.Result[:min(len(response.Result), 40)])
		}
		if len(response.Error) > 2000 {
			t.Errorf("%s: an error of %d bytes", name, len(response.Error))
		}
		if got := s.docByID("x"); got == nil {
			t.Fatalf("%s: the same connection finds nothing any more", name)
		}
	}
}

// Random changes to good requests: any answer but silence or a crash will do.
func TestMutatedRequestsDoNotHurtTheServer(t *testing.T) {
	server, s := plain(t)
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	t.Logf("seed %d", seed)
	templates := [][]byte{}
	for _, request := range []*wire.Request{
		s.NewRequest(wire.OpInsertOne, s.collection, Doc{"_id": "x", "a": []any{1, 2.5, "t", nil, Doc{"b": []byte{1}}}}),
		s.NewRequest(wire.OpInsertMany, s.collection, insertManyArgs(t, numbered(3))),
		s.NewRequest(wire.OpFind, s.collection, Doc{"query": Doc{"$or": []Doc{{"a": Doc{"$gt": 1}}, {"b": Doc{"$regex": "^x"}}}}}),
		s.NewRequest(wire.OpUpdateMany, s.collection, Doc{"filter": Doc{"a": 1}, "update": Doc{"$set": Doc{"b.c": 1}, "$push": Doc{"l": 1}}}),
		s.NewRequest(wire.OpAggregate, s.collection, Doc{"pipeline": []Doc{{"$match": Doc{"a": 1}}, {"$sort": Doc{"a": 1}}, {"$limit": 3}}}),
		s.NewRequest(wire.OpFindManyStream, s.collection, Doc{"query": Doc{}, "limit": 2, "cursor": []byte("0123456789abcdef")}),
		s.NewRequest(wire.OpTxBatch, "", Doc{"operations": []Doc{{"op": 1, "collection": s.collection, "args": Doc{"doc": Doc{"n": 1}}}}}),
		s.NewRequest(wire.OpBatch, "", Doc{"requests": []*wire.Request{s.NewRequest(wire.OpCount, s.collection, Doc{})}}),
	} {
		templates = append(templates, encode(t, request))
	}
	for round := range 3000 {
		payload := bytes.Clone(templates[random.IntN(len(templates))])
		for range 1 + random.IntN(4) {
			position := random.IntN(len(payload))
			switch random.IntN(3) {
			case 0:
				payload[position] = byte(random.Uint32())
			case 1:
				payload = append(payload[:position], payload[min(len(payload), position+random.IntN(8)):]...)
			case 2:
				payload = append(payload[:position:position], append([]byte{byte(random.Uint32())}, payload[position:]...)...)
			}
			if len(payload) == 0 {
				break
			}
		}
		if asksForNoReply(payload) {
			continue // a mutation that asks for no answer gets none
		}
		if err := s.WritePayload(payload); err != nil {
			t.Fatalf("round %d, % x: %v", round, payload, err)
		}
		if _, err := s.ReadPayload(); err != nil {
			t.Fatalf("round %d, % x: %v", round, payload, err)
		}
	}
	if !server.Running() {
		t.Fatal("the server is gone")
	}
	alive(t, s.Options)
}

func asksForNoReply(payload []byte) bool { return bytes.Contains(payload, []byte("\xa2nr")) }

func memoryKiB(t *testing.T, pid int) int {
	t.Helper()
	status, err := readFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skipf("no /proc: %v", err)
	}
	var kib int
	for line := range strings.SplitSeq(status, "\n") {
		if rest, found := strings.CutPrefix(line, "RssAnon:"); found {
			fmt.Sscan(rest, &kib)
		}
	}
	return kib
}

// A frame over the limit is refused by its length: nothing is allocated for it,
// and what was never sent is not waited for.
func TestGiantLengthsAreRefusedAtOnce(t *testing.T) {
	server, s := plain(t)
	s.count(wire.OpCount, Doc{})
	before := memoryKiB(t, server.Pid())
	for range 64 {
		conn := rawDial(t, server.Address)
		conn.Write(binary.BigEndian.AppendUint32(nil, 0x7fffffff))
		conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		answer, err := io.ReadAll(conn)
		if err != nil {
			t.Fatalf("after the answer: %v", err)
		}
		if len(answer) > 4 {
			response := decode[wire.Response](t, answer[4:])
			if !strings.Contains(response.Error, "limit") {
				t.Errorf("the error is %q", response.Error)
			}
		}
	}
	// A length within the limit reserves nothing until bytes arrive.
	var held []net.Conn
	for range 64 {
		conn := rawDial(t, server.Address)
		conn.Write(append(binary.BigEndian.AppendUint32(nil, 60<<20), make([]byte, 100)...))
		held = append(held, conn)
	}
	alive(t, s.Options)
	if grown := memoryKiB(t, server.Pid()) - before; grown > 64<<10 {
		t.Errorf("the server grew by %d KiB for frames that were never sent", grown)
	}
	for _, conn := range held {
		conn.Close()
	}
	alive(t, s.Options)
}

// Connections that end anywhere in a request leave nothing behind.
func TestConnectionsThatEndInTheMiddle(t *testing.T) {
	server, s := plain(t)
	frame := wire.Frame(encode(t, s.NewRequest(wire.OpInsertOne, "half", Doc{"_id": "half"})))
	for cut := range frame {
		conn := rawDial(t, server.Address)
		conn.Write(frame[:cut])
		conn.Close()
	}
	secure, options := secured(t)
	for cut := range 34 {
		conn := rawDial(t, secure.Address)
		conn.Write(append([]byte{0xAE, 2}, make([]byte, 32)...)[:cut])
		conn.Close()
	}
	alive(t, s.Options)
	alive(t, options)
	s.collection = "half"
	if s.byID("half") != nil {
		t.Error("half a request was carried out")
	}
}

// One byte at a time is slow, not wrong.
func TestBytesThatTrickleIn(t *testing.T) {
	_, s := plain(t)
	for _, b := range wire.Frame(encode(t, s.NewRequest(wire.OpInsertOne, s.collection, Doc{"_id": "slow"}))) {
		if _, err := s.Raw().Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	if response, err := s.Receive(); err != nil || response.Error != "" {
		t.Fatalf("got %+v, %v", response, err)
	}
	if s.byID("slow") == nil {
		t.Error("it is not there")
	}
}

// A client that never reads its answers is not buffered for without bound, and
// does not keep others from theirs.
func TestClientThatDoesNotRead(t *testing.T) {
	server, s := plain(t)
	s.insert(Doc{"_id": "big", "data": make([]byte, 1<<20)})
	before := memoryKiB(t, server.Pid())
	deaf := dial(t, s.Options)
	deaf.Timeout = 2 * time.Second
	for range 2000 {
		request := deaf.NewRequest(wire.OpFindByID, s.collection, Doc{"id": "big"})
		if err := deaf.Send(request); err != nil {
			break // the server stopped reading, or closed the connection: both are right
		}
	}
	alive(t, s.Options)
	if grown := memoryKiB(t, server.Pid()) - before; grown > 160<<10 {
		t.Errorf("the server grew by %d KiB for a client that does not read", grown)
	}
}
