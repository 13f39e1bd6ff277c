// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"testing"
	"time"

	"alos.test/interop/wire"

	"github.com/vmihailenco/msgpack/v5"
)

// encodings gives one value for every first byte MessagePack knows, by name.
func encodings() map[string][]byte {
	filler := func(n int) []byte { return bytes.Repeat([]byte{'x'}, n) }
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	be := func(size int, value uint64) []byte {
		all := binary.BigEndian.AppendUint64(nil, value)
		return all[8-size:]
	}
	values := map[string][]byte{
		"nil": {0xc0}, "false": {0xc2}, "true": {0xc3},
		"fixint 0": {0x00}, "fixint 127": {0x7f}, "negative fixint -1": {0xff}, "negative fixint -32": {0xe0},
		"fixstr empty": {0xa0}, "fixstr 31": join([]byte{0xbf}, filler(31)),
		"fixarray empty": {0x90}, "fixmap empty": {0x80},
		"fixarray 15": join([]byte{0x9f}, bytes.Repeat([]byte{0xc0}, 15)),
		"float32":     join([]byte{0xca}, be(4, uint64(math.Float32bits(1.25)))),
		"str8":        join([]byte{0xd9, 200}, filler(200)),
		"str8 short":  join([]byte{0xd9, 2}, filler(2)), // longer than it needs to be
		"str16":       join([]byte{0xda}, be(2, 300), filler(300)),
		"str32":       join([]byte{0xdb}, be(4, 70000), filler(70000)),
		"bin8 empty":  {0xc4, 0},
		"bin8":        {0xc4, 3, 0, 255, 128},
		"bin16":       join([]byte{0xc5}, be(2, 300), filler(300)),
		"bin32":       join([]byte{0xc6}, be(4, 70000), filler(70000)),
		"array16":     join([]byte{0xdc}, be(2, 20), bytes.Repeat([]byte{0x01}, 20)),
		"array32":     join([]byte{0xdd}, be(4, 70000), bytes.Repeat([]byte{0x02}, 70000)),
		"fixext1":     {0xd4, 5, 1}, "fixext2": {0xd5, 5, 1, 2}, "fixext4": {0xd6, 5, 1, 2, 3, 4},
		"fixext8":           join([]byte{0xd7, 5}, filler(8)),
		"fixext16":          join([]byte{0xd8, 5}, filler(16)),
		"ext8":              join([]byte{0xc7, 3, 5}, filler(3)),
		"ext16":             join([]byte{0xc8}, be(2, 300), []byte{5}, filler(300)),
		"ext32":             join([]byte{0xc9}, be(4, 70000), []byte{0x80}, filler(70000)),
		"timestamp 4 bytes": join([]byte{0xd6, 0xff}, be(4, 1700000000)),
		"timestamp 8 bytes": join([]byte{0xd7, 0xff}, be(8, 999999999<<34|1700000000)),
		"timestamp 12 bytes, before the epoch": join([]byte{0xc7, 12, 0xff}, be(4, 5),
			be(8, math.MaxUint64-41)),
	}
	for name, code := range map[string]byte{"uint": 0xcc, "int": 0xd0} {
		for i, size := range []int{1, 2, 4, 8} {
			for _, value := range []uint64{0, 1, 0x7f, 0x80, math.MaxUint64} {
				values[fmt.Sprintf("%s%d %x", name, 8*size, value)] = join([]byte{code + byte(i)}, be(size, value))
			}
		}
	}
	for name, value := range map[string]float64{"0": 0, "-0": math.Copysign(0, -1), "pi": math.Pi, "inf": math.Inf(1),
		"-inf": math.Inf(-1), "nan": math.NaN(), "smallest": math.SmallestNonzeroFloat64, "largest": math.MaxFloat64} {
		values["float64 "+name] = join([]byte{0xcb}, be(8, math.Float64bits(value)))
	}
	for _, form := range []struct {
		name   string
		header []byte
		count  int
	}{
		{"fixmap 15", []byte{0x8f}, 15}, {"map16", []byte{0xde, 0, 20}, 20}, {"map32", []byte{0xdf, 0, 0, 0, 20}, 20},
	} {
		value := form.header
		for i := range form.count {
			value = join(value, []byte{0xa2, 'a' + byte(i), 'k', byte(i)})
		}
		values[form.name] = value
	}
	deep := []byte{0x01}
	for range 90 {
		deep = join([]byte{0x91}, deep)
	}
	values["nested 90 deep"] = deep
	return values
}

// Whatever encoding a value came in, it goes out in the same bytes: as a field,
// in an array, by id, by scan, by stream, and in a bulk insert.
func TestEveryMessagePackTypeKeepsItsBytes(t *testing.T) {
	eachTransport(t, func(t *testing.T, options wire.Options) {
		s := dial(t, options)
		bulk := dial(t, options)
		want := map[string][]byte{}
		var blob []byte
		names, offsets := []string{}, []uint32{}
		for name, value := range encodings() {
			key := encode(t, name)
			doc := bytes.Join([][]byte{{0x83}, encode(t, "_id"), key, encode(t, "v"), value,
				encode(t, "list"), {0x92}, value, value}, nil)
			want[name] = doc
			if got := s.insert(msgpack.RawMessage(doc)); got != name {
				t.Errorf("id %q, want %q", got, name)
			}
			names, offsets = append(names, name), append(offsets, uint32(len(blob)))
			blob = append(blob, doc...)
		}
		bulk.must(wire.OpInsertMany, Doc{"ids": names, "blob": blob, "offsets": offsets})
		for _, s := range []*session{s, bulk} {
			for name, doc := range want {
				if got := s.byID(name); !bytes.Equal(got, doc) {
					t.Errorf("%s: FindByID read %d bytes % x…", name, len(got), got[:min(len(got), 40)])
				}
			}
			seen := 0
			args := Doc{"query": Doc{}, "limit": 10}
			for {
				page := decode[struct {
					Docs   []msgpack.RawMessage `msgpack:"docs"`
					Cursor []byte               `msgpack:"cursor"`
				}](t, s.must(wire.OpFindManyStream, args))
				for _, raw := range page.Docs {
					name := decode[struct {
						ID string `msgpack:"_id"`
					}](t, raw).ID
					if !bytes.Equal(raw, want[name]) {
						t.Errorf("%s: the stream read %d bytes", name, len(raw))
					}
					seen++
				}
				if len(page.Cursor) == 0 {
					break
				}
				args["cursor"] = page.Cursor
			}
			if seen != len(want) {
				t.Errorf("the stream gave %d of %d", seen, len(want))
			}
		}
	})
}

func TestIDsOfOtherTypes(t *testing.T) {
	_, s := plain(t)
	for _, id := range []any{int64(1), uint64(math.MaxUint64), 2.5, true, []byte{1, 2, 3}, time.Unix(1700000000, 5).UTC()} {
		s.must(wire.OpInsertOne, Doc{"_id": id, "was": fmt.Sprint(id)})
		if got := s.find(Doc{"_id": id}); len(got) != 1 || got[0]["was"] != fmt.Sprint(id) {
			t.Errorf("%v: found %v", id, got)
		}
	}
	// 1 and 1.0 are the same id.
	s.refused(wire.OpInsertOne, Doc{"_id": 1.0}, "1")
	for _, id := range []any{nil, []int{1}, Doc{"a": 1}, math.NaN()} {
		s.refused(wire.OpInsertOne, Doc{"_id": id}, "_id")
	}
}

// Times travel as the MessagePack timestamp and come back as the same instant.
func TestTimesAreComparedAsTimes(t *testing.T) {
	_, s := plain(t)
	base := time.Date(2026, 8, 5, 12, 0, 0, 123456789, time.UTC)
	for i := range 10 {
		s.insert(Doc{"_id": fmt.Sprint(i), "at": base.Add(time.Duration(i) * time.Hour)})
	}
	if got := s.find(Doc{"at": Doc{"$gte": base.Add(7 * time.Hour)}}); len(got) != 3 {
		t.Errorf("found %v", ids(got))
	}
	if got := s.find(Doc{"at": base}); len(got) != 1 || !got[0]["at"].(time.Time).Equal(base) {
		t.Errorf("found %v", got)
	}
}

func TestDocumentsOfTenMegabytes(t *testing.T) {
	const size = 10 << 20
	noise := make([]byte, size)
	state := uint64(88172645463325252)
	for i := range noise { // xorshift: nothing a codec could shrink
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		noise[i] = byte(state)
	}
	manyFields := Doc{}
	for i := range 200_000 {
		manyFields[fmt.Sprintf("field_%06d", i)] = "a value of a field, of which there are many"
	}
	eachTransport(t, func(t *testing.T, options wire.Options) {
		s := dial(t, options)
		for name, doc := range map[string]Doc{
			"noise":  {"_id": "noise", "data": noise},
			"zeros":  {"_id": "zeros", "data": make([]byte, size)},
			"text":   {"_id": "text", "data": string(bytes.Repeat([]byte("Zehn Megabyte. "), size/15))},
			"fields": {"_id": "fields", "data": manyFields},
		} {
			raw := encode(t, doc)
			s.insert(msgpack.RawMessage(raw))
			if got := s.byID(name); !bytes.Equal(got, raw) {
				t.Errorf("%s: read %d bytes, wrote %d", name, len(got), len(raw))
			}
		}
		if n := s.count(wire.OpUpdateOne, Doc{"filter": Doc{"_id": "noise"}, "update": Doc{"$set": Doc{"small": 1}}}); n != 1 {
			t.Errorf("updated %d", n)
		}
		if got := s.docByID("noise"); !bytes.Equal(got["data"].([]byte), noise) || fmt.Sprint(got["small"]) != "1" {
			t.Error("an update changed more than it should")
		}
		// Over 50 MiB the published client takes no response.
		for i := range 4 {
			s.insert(Doc{"_id": fmt.Sprint("more", i), "data": noise})
		}
		s.refused(wire.OpFind, Doc{"query": Doc{}}, "FindPaginated", "FindManyStream")
		if docs, _ := s.stream(Doc{"query": Doc{}, "limit": 2}, nil); len(docs) != 8 {
			t.Errorf("the stream gave %d documents", len(docs))
		}
		// The server chooses its batches so that they fit, whatever the limit.
		if docs, _ := s.stream(Doc{"query": Doc{}, "limit": 100}, nil); len(docs) != 8 {
			t.Errorf("the stream gave %d documents", len(docs))
		}
	})
}
