// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

// Package scenario runs every operation of the protocol against a real server.
package scenario

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"alos.test/interop/wire"

	"github.com/vmihailenco/msgpack/v5"
)

func TestOperations(t *testing.T) {
	tests := []struct {
		name string
		run  func(t *testing.T, s *session)
	}{
		{"InsertOneReturnsTheBytesItWasGiven", insertOneBytes},
		{"InsertOneMakesAnID", insertOneMakesID},
		{"InsertOneTakesTheOldWrappedForm", insertOneWrapped},
		{"InsertOneRefusesADuplicateID", insertOneDuplicate},
		{"InsertManyTakesEveryForm", insertManyForms},
		{"InsertManyStopsAtADuplicate", insertManyDuplicate},
		{"NothingFoundIsNil", nothingFound},
		{"FindFilters", findFilters},
		{"FindProjects", findProjects},
		{"Updates", updates},
		{"Deletes", deletes},
		{"CountAndFindManyCount", counts},
		{"Upserts", upserts},
		{"CollectionsAndDatabases", collectionsAndDatabases},
		{"StatsFlushAndReadTimestamp", statsFlushReadTS},
		{"BatchAnswersEachMember", batch},
		{"TxBatchIsAllOrNothing", txBatch},
		{"Aggregate", aggregate},
		{"StreamingPartitionsTheResult", streaming},
		{"StreamSeesOneSnapshot", streamSnapshot},
		{"Pagination", pagination},
		{"Indexes", indexes},
		{"Transactions", transactions},
		{"NoReplyGetsNoReply", noReply},
		{"PipelinedRequestsAreAnsweredInOrder", pipelining},
		{"RequestKeysInAnyOrderAndUnknownOnes", requestForms},
		{"Unicode", unicode},
	}
	eachTransport(t, func(t *testing.T, options wire.Options) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) { test.run(t, dial(t, options)) })
		}
	})
}

func insertOneBytes(t *testing.T, s *session) {
	id := clientID()
	doc := encode(t, Doc{"_id": id, "name": "Alice", "age": 30, "tags": []string{"a", "b"},
		"address": Doc{"city": "Zürich", "zip": uint16(8001)}, "score": 1.5, "none": nil})
	if got := s.insert(msgpack.RawMessage(doc)); got != id {
		t.Fatalf("id %q, want %q", got, id)
	}
	if got := s.byID(id); !bytes.Equal(got, doc) {
		t.Fatalf("read % x\nwrote % x", got, doc)
	}
	if got := s.must(wire.OpFindOne, Doc{"query": Doc{"name": "Alice"}}); !bytes.Equal(got, doc) {
		t.Fatalf("FindOne read % x\nwrote % x", got, doc)
	}
}

func insertOneMakesID(t *testing.T, s *session) {
	first, second := s.insert(Doc{"n": 1}), s.insert(Doc{"n": 2})
	if first == second {
		t.Fatalf("the same id twice: %s", first)
	}
	if got := s.docByID(first); got["_id"] != first || fmt.Sprint(got["n"]) != "1" {
		t.Fatalf("read %v", got)
	}
}

func insertOneWrapped(t *testing.T, s *session) {
	if got := s.insert(Doc{"doc": Doc{"_id": "wrapped", "n": 1}}); got != "wrapped" {
		t.Fatalf("id %q", got)
	}
	if got := s.docByID("wrapped"); got["doc"] != nil || fmt.Sprint(got["n"]) != "1" {
		t.Fatalf("read %v", got)
	}
	id := s.insert(Doc{"doc": Doc{"n": 2}})
	if got := s.docByID(id); got["doc"] != nil || fmt.Sprint(got["n"]) != "2" {
		t.Fatalf("read %v", got)
	}
	// With an _id of its own, `doc` is an ordinary field.
	s.insert(Doc{"_id": "own", "doc": Doc{"n": 3}})
	if got := s.docByID("own"); got["doc"] == nil {
		t.Fatalf("read %v", got)
	}
	// So is a `doc` that is no map.
	id = s.insert(Doc{"doc": "text"})
	if got := s.docByID(id); got["doc"] != "text" {
		t.Fatalf("read %v", got)
	}
}

func insertOneDuplicate(t *testing.T, s *session) {
	s.insert(Doc{"_id": "same", "n": 1})
	s.refused(wire.OpInsertOne, Doc{"_id": "same", "n": 2}, s.collection, "same")
	if got := s.docByID("same"); fmt.Sprint(got["n"]) != "1" {
		t.Fatalf("the first document became %v", got)
	}
}

func insertManyForms(t *testing.T, s *session) {
	// One field and an id: Go's random map order would change the bytes of larger ones.
	docs := []Doc{{"_id": "m1"}, {"_id": "m2"}, {"n": 3}}
	args := insertManyArgs(t, docs) // n+1 offsets
	got := decode[map[string][]string](t, s.must(wire.OpInsertMany, args))["ids"]
	if len(got) != 3 || got[0] != "m1" || got[1] != "m2" || got[2] == "" {
		t.Fatalf("ids %v", got)
	}
	if doc := s.docByID(got[2]); fmt.Sprint(doc["n"]) != "3" {
		t.Fatalf("the document without an id: %v", doc)
	}
	if raw, want := s.byID("m2"), encode(t, docs[1]); !bytes.Equal(raw, want) {
		t.Fatalf("read % x, wrote % x", raw, want)
	}

	// The first client: n offsets, empty ids.
	args = insertManyArgs(t, []Doc{{"_id": "m4", "n": 4}, {"n": 5}})
	args["ids"] = []string{"", ""}
	args["offsets"] = args["offsets"].([]uint32)[:2]
	got = decode[map[string][]string](t, s.must(wire.OpInsertMany, args))["ids"]
	if len(got) != 2 || got[0] != "m4" || got[1] == "" {
		t.Fatalf("ids %v", got)
	}
	if doc := s.docByID(got[1]); fmt.Sprint(doc["n"]) != "5" {
		t.Fatalf("the document without an id: %v", doc)
	}

	// Nothing at all.
	args = insertManyArgs(t, nil)
	if got := decode[map[string][]string](t, s.must(wire.OpInsertMany, args))["ids"]; len(got) != 0 {
		t.Fatalf("ids %v", got)
	}

	// Offsets that make no sense.
	for name, offsets := range map[string][]uint32{
		"beyond the blob": {0, 1 << 30}, "descending": {5, 0, 3}, "too many": {0, 1, 2, 3, 4, 5}, "none": {},
	} {
		args := insertManyArgs(t, []Doc{{"_id": "bad1"}, {"_id": "bad2"}})
		args["offsets"] = offsets
		message := s.refused(wire.OpInsertMany, args)
		if !strings.Contains(message, "offset") {
			t.Errorf("%s: the error %q does not mention offsets", name, message)
		}
	}
	if got := s.count(wire.OpCount, Doc{}); got != 5 {
		t.Fatalf("%d documents, want 5", got)
	}
}

func insertManyDuplicate(t *testing.T, s *session) {
	s.insert(Doc{"_id": "2"})
	s.refused(wire.OpInsertMany, insertManyArgs(t, []Doc{{"_id": "0"}, {"_id": "1"}, {"_id": "2"}, {"_id": "3"}}),
		s.collection, "2")
	if got := s.count(wire.OpCount, Doc{}); got != 3 {
		t.Fatalf("%d documents, want 0, 1 and 2", got)
	}
	if s.byID("1") == nil || s.byID("3") != nil {
		t.Fatal("the ones ahead of the duplicate must be there, the ones behind it not")
	}
}

func nothingFound(t *testing.T, s *session) {
	s.insert(Doc{"_id": "there"})
	for _, collection := range []string{s.collection, "never_made"} {
		s.collection = collection
		for _, call := range []struct {
			op   wire.Op
			args Doc
		}{
			{wire.OpFindOne, Doc{"query": Doc{"_id": "absent"}}},
			{wire.OpFindOne, Doc{"query": Doc{"n": 1}}},
			{wire.OpFindByID, Doc{"id": "absent"}},
		} {
			if raw := s.must(call.op, call.args); !bytes.Equal(raw, []byte{0xc0}) {
				t.Errorf("op %d in %s: result % x, want nil", call.op, collection, raw)
			}
		}
		if raw := s.must(wire.OpFind, Doc{"query": Doc{"n": 1}}); !bytes.Equal(raw, []byte{0x90}) {
			t.Errorf("Find in %s: % x, want an empty array", collection, raw)
		}
		if n := s.count(wire.OpUpdateOne, Doc{"filter": Doc{"n": 1}, "update": Doc{"$set": Doc{"n": 2}}}); n != 0 {
			t.Errorf("updated %d", n)
		}
		if n := s.count(wire.OpDeleteMany, Doc{"filter": Doc{"n": 1}}); n != 0 {
			t.Errorf("deleted %d", n)
		}
	}
	if n := s.count(wire.OpCount, Doc{}); n != 0 {
		t.Errorf("a collection that was never made has %d documents", n)
	}
}

func findFilters(t *testing.T, s *session) {
	s.insertMany([]Doc{
		{"_id": "a", "n": 1, "name": "Ann", "tags": []string{"x", "y"}, "at": Doc{"city": "Bern"}},
		{"_id": "b", "n": 2.5, "name": "Bob", "tags": []string{"y"}, "at": Doc{"city": "Basel"}},
		{"_id": "c", "n": int64(1) << 53, "name": "Cleo"},
		{"_id": "d", "n": nil, "items": []Doc{{"q": 1}, {"q": 5}}},
		{"_id": "e", "n": "text"},
	})
	for _, test := range []struct {
		query Doc
		want  string
	}{
		{Doc{}, "a b c d e"},
		{Doc{"n": 1}, "a"},
		{Doc{"n": 1.0}, "a"},
		{Doc{"n": uint64(1)}, "a"},
		{Doc{"n": Doc{"$eq": 2.5}}, "b"},
		{Doc{"n": Doc{"$gt": 1}}, "b c"},
		{Doc{"n": Doc{"$gte": 1, "$lt": 3}}, "a b"},
		{Doc{"n": Doc{"$lte": 2.5}}, "a b"},
		{Doc{"n": Doc{"$ne": 1}}, "b c d e"},
		{Doc{"n": Doc{"$in": []any{1, "text"}}}, "a e"},
		{Doc{"n": Doc{"$nin": []any{1, "text"}}}, "b c d"},
		{Doc{"_id": Doc{"$in": []any{"e", "a", "zz"}}}, "a e"},
		{Doc{"tags": "y"}, "a b"},
		{Doc{"tags": []string{"y"}}, "b"},
		{Doc{"at.city": "Bern"}, "a"},
		{Doc{"items.q": Doc{"$gt": 3}}, "d"},
		{Doc{"items.0.q": 1}, "d"},
		{Doc{"name": Doc{"$exists": false}}, "d e"},
		{Doc{"name": Doc{"$exists": true}}, "a b c"},
		{Doc{"name": Doc{"$regex": "^[AB]"}}, "a b"},
		{Doc{"name": Doc{"$not": Doc{"$regex": "^[AB]"}}}, "c d e"},
		{Doc{"$or": []Doc{{"n": 1}, {"name": "Cleo"}}}, "a c"},
		{Doc{"$and": []Doc{{"tags": "y"}, {"n": Doc{"$gt": 1}}}}, "b"},
		{Doc{"$nor": []Doc{{"tags": "y"}, {"n": "text"}}}, "c d"},
		{Doc{"n": nil}, "d"},
		{Doc{"at": nil}, "c d e"},
		{Doc{"at": Doc{"city": "Bern"}}, "a"},
	} {
		got := []string{}
		for _, doc := range s.find(test.query) {
			got = append(got, doc["_id"].(string))
		}
		slices.Sort(got)
		if strings.Join(got, " ") != test.want {
			t.Errorf("%v found %v, want %s", test.query, got, test.want)
		}
		n := decode[map[string]int](t, s.must(wire.OpFindManyCount, Doc{"query": test.query}))["n"]
		if n != len(strings.Fields(test.want)) {
			t.Errorf("%v counted %d, want %s", test.query, n, test.want)
		}
	}
	s.refused(wire.OpFind, Doc{"query": Doc{"n": Doc{"$almost": 1}}}, "$almost")
	s.refused(wire.OpFind, Doc{"query": Doc{"name": Doc{"$regex": "(["}}}, "regex")
	s.refused(wire.OpFind, Doc{"query": Doc{"n": Doc{"$in": 1}}}, "$in", "array")
	s.refused(wire.OpFind, Doc{"query": "text"}, "query")
	s.refused(wire.OpFind, []int{1})
}

func findProjects(t *testing.T, s *session) {
	s.insert(Doc{"_id": "p", "a": 1, "b": Doc{"c": 2, "d": 3}, "e": []Doc{{"f": 4, "g": 5}}})
	got := decode[[]Doc](t, s.must(wire.OpFind, Doc{"query": Doc{}, "fields": []string{"a", "b.c", "missing"}}))
	want := []Doc{{"_id": "p", "a": int8(1), "b": Doc{"c": int8(2)}}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("projected %v, want %v", got, want)
	}
	got = decode[[]Doc](t, s.must(wire.OpFindPaginated, Doc{"query": Doc{}, "fields": []string{"e.f"}, "limit": 5}))
	want = []Doc{{"_id": "p", "e": []Doc{{"f": int8(4)}}}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("projected %v, want %v", got, want)
	}
	// No fields means all of them.
	got = decode[[]Doc](t, s.must(wire.OpFind, Doc{"query": Doc{}, "fields": []string{}}))
	if len(got) != 1 || len(got[0]) != 4 {
		t.Errorf("projected %v", got)
	}
	s.refused(wire.OpFind, Doc{"query": Doc{}, "fields": "a"}, "fields")
}

func updates(t *testing.T, s *session) {
	s.insertMany(numbered(10))
	update := func(op wire.Op, filter, change Doc) int {
		t.Helper()
		return s.count(op, Doc{"filter": filter, "update": change})
	}
	if n := update(wire.OpUpdateOne, Doc{"_id": "00003"}, Doc{"$set": Doc{"name": "three", "deep.er": 1}}); n != 1 {
		t.Errorf("updated %d", n)
	}
	if got := s.docByID("00003"); got["name"] != "three" || fmt.Sprint(got["deep"]) != "map[er:1]" {
		t.Errorf("read %v", got)
	}
	if n := update(wire.OpUpdateMany, Doc{"even": true}, Doc{"$inc": Doc{"n": 100}}); n != 5 {
		t.Errorf("updated %d", n)
	}
	if got := len(s.find(Doc{"n": Doc{"$gte": 100}})); got != 5 {
		t.Errorf("%d documents were incremented", got)
	}
	update(wire.OpUpdateOne, Doc{"_id": "00003"}, Doc{"$unset": Doc{"name": ""}, "$push": Doc{"list": "x"}})
	update(wire.OpUpdateOne, Doc{"_id": "00003"}, Doc{"$push": Doc{"list": "y"}})
	if got := s.docByID("00003"); got["name"] != nil || fmt.Sprint(got["list"]) != "[x y]" {
		t.Errorf("read %v", got)
	}
	update(wire.OpUpdateOne, Doc{"_id": "00003"}, Doc{"$pull": Doc{"list": "x"}})
	if got := s.docByID("00003"); fmt.Sprint(got["list"]) != "[y]" {
		t.Errorf("read %v", got)
	}
	if n := update(wire.OpUpdateOne, Doc{"_id": "00004"}, Doc{"whole": "new"}); n != 1 {
		t.Errorf("replaced %d", n)
	}
	if got := s.docByID("00004"); !reflect.DeepEqual(got, Doc{"_id": "00004", "whole": "new"}) {
		t.Errorf("read %v", got)
	}
	s.refused(wire.OpUpdateOne, Doc{"filter": Doc{}, "update": Doc{"$frobnicate": Doc{"n": 1}}}, "$frobnicate")
	s.refused(wire.OpUpdateOne, Doc{"filter": Doc{"_id": "00001"}, "update": Doc{"$set": Doc{"_id": "other"}}}, "_id")
	s.refused(wire.OpUpdateOne, Doc{"filter": Doc{"_id": "00003"}, "update": Doc{"$inc": Doc{"list": 1}}}, "$inc")
	s.refused(wire.OpUpdateOne, Doc{"filter": Doc{}}, "update")
	if got := s.docByID("00001"); fmt.Sprint(got["n"]) != "1" {
		t.Errorf("a refused update changed %v", got)
	}
}

func deletes(t *testing.T, s *session) {
	s.insertMany(numbered(10))
	if n := s.count(wire.OpDeleteOne, Doc{"filter": Doc{"even": true}}); n != 1 {
		t.Errorf("deleted %d", n)
	}
	if n := s.count(wire.OpDeleteMany, Doc{"filter": Doc{"even": true}}); n != 4 {
		t.Errorf("deleted %d", n)
	}
	if n := s.count(wire.OpDeleteOne, Doc{"filter": Doc{"_id": "00001"}}); n != 1 || s.byID("00001") != nil {
		t.Errorf("deleted %d", n)
	}
	if n := s.count(wire.OpDeleteOne, Doc{"filter": Doc{"_id": "00001"}}); n != 0 {
		t.Errorf("deleted %d", n)
	}
	if n := s.count(wire.OpCount, Doc{}); n != 4 {
		t.Errorf("%d left", n)
	}
	// An id that was deleted may be used again.
	s.insert(Doc{"_id": "00001", "again": true})
	if got := s.docByID("00001"); got["again"] != true {
		t.Errorf("read %v", got)
	}
	s.refused(wire.OpDeleteMany, Doc{}, "filter")
	if n := s.count(wire.OpCount, Doc{}); n != 5 {
		t.Errorf("%d left", n)
	}
}

func counts(t *testing.T, s *session) {
	// The published client reads the bytes 81 a1 6e and a shortest unsigned integer.
	expect := func(raw []byte, tail ...byte) {
		t.Helper()
		if want := append([]byte{0x81, 0xa1, 'n'}, tail...); !bytes.Equal(raw, want) {
			t.Errorf("FindManyCount is % x, want % x", raw, want)
		}
	}
	expect(s.must(wire.OpFindManyCount, Doc{"query": Doc{}}), 0)
	docs := numbered(300)
	s.insertMany(docs)
	expect(s.must(wire.OpFindManyCount, Doc{"query": Doc{"n": Doc{"$lt": 1}}}), 1)
	expect(s.must(wire.OpFindManyCount, Doc{"query": Doc{"n": Doc{"$lt": 127}}}), 127)
	expect(s.must(wire.OpFindManyCount, Doc{"query": Doc{"n": Doc{"$lt": 128}}}), 0xcc, 128)
	expect(s.must(wire.OpFindManyCount, Doc{"query": Doc{"n": Doc{"$lt": 255}}}), 0xcc, 255)
	expect(s.must(wire.OpFindManyCount, Doc{"query": Doc{"n": Doc{"$lt": 256}}}), 0xcd, 1, 0)
	expect(s.must(wire.OpFindManyCount, Doc{"query": Doc{}}), 0xcd, 1, 44)
	if n := s.count(wire.OpCount, Doc{}); n != 300 {
		t.Errorf("Count is %d", n)
	}
}

func upserts(t *testing.T, s *session) {
	one := func(filter, update Doc) Doc {
		t.Helper()
		return decode[Doc](t, s.must(wire.OpUpsertOne, Doc{"filter": filter, "update": update}))
	}
	if got := one(Doc{"_id": "u"}, Doc{"$set": Doc{"n": 1}}); got["inserted"] != true || got["id"] != "u" {
		t.Errorf("first: %v", got)
	}
	if got := one(Doc{"_id": "u"}, Doc{"$set": Doc{"n": 2}}); got["inserted"] != false {
		t.Errorf("second: %v", got)
	}
	if got := s.docByID("u"); fmt.Sprint(got["n"]) != "2" {
		t.Errorf("read %v", got)
	}
	got := one(Doc{"email": "a@b"}, Doc{"$set": Doc{"n": 3}})
	id, _ := got["id"].(string)
	if got["inserted"] != true || id == "" {
		t.Fatalf("third: %v", got)
	}
	if doc := s.docByID(id); doc["email"] != "a@b" || fmt.Sprint(doc["n"]) != "3" {
		t.Errorf("read %v", doc)
	}
	many := func(filter, update Doc) map[string]int {
		t.Helper()
		return decode[map[string]int](t, s.must(wire.OpUpsertMany, Doc{"filter": filter, "update": update}))
	}
	if got := many(Doc{"n": Doc{"$gt": 0}}, Doc{"$set": Doc{"seen": true}}); got["matched"] != 2 || got["inserted"] != 0 {
		t.Errorf("UpsertMany: %v", got)
	}
	if got := many(Doc{"kind": "new"}, Doc{"$set": Doc{"seen": true}}); got["matched"] != 0 || got["inserted"] != 1 {
		t.Errorf("UpsertMany: %v", got)
	}
	if got := s.find(Doc{"kind": "new", "seen": true}); len(got) != 1 {
		t.Errorf("found %v", got)
	}
}

func collectionsAndDatabases(t *testing.T, s *session) {
	exists := func(op wire.Op, name string) bool {
		t.Helper()
		return decode[map[string]bool](t, s.must(op, Doc{"name": name}))["exists"]
	}
	name := s.collection + "_made"
	if exists(wire.OpCollectionExists, name) {
		t.Error("it exists before it was made")
	}
	if raw, err := s.Call(wire.OpCreateCollection, "", Doc{"name": name}); err != nil {
		t.Fatalf("CreateCollection: %x, %v", raw, err)
	}
	if !exists(wire.OpCollectionExists, name) {
		t.Error("it does not exist after it was made")
	}
	s.collection = name
	s.insert(Doc{"_id": "x"})
	s.must(wire.OpDrop, Doc{})
	if s.byID("x") != nil || s.count(wire.OpCount, Doc{}) != 0 || exists(wire.OpCollectionExists, name) {
		t.Error("something is left of a dropped collection")
	}
	s.insert(Doc{"_id": "x", "after": "drop"})
	if got := s.docByID("x"); got["after"] != "drop" {
		t.Errorf("read %v", got)
	}

	database := "db_" + s.collection
	if exists(wire.OpDBExists, database) {
		t.Error("the database exists before its first write")
	}
	s.Database = database
	if s.byID("x") != nil {
		t.Error("a document of another database")
	}
	s.insert(Doc{"_id": "x", "database": database})
	if got := s.docByID("x"); got["database"] != database {
		t.Errorf("read %v", got)
	}
	s.Database = ""
	if got := s.docByID("x"); got["database"] != nil {
		t.Errorf("the default database has the other's document: %v", got)
	}
	if !exists(wire.OpDBExists, database) {
		t.Error("the database does not exist after its first write")
	}
	s.Database = "../evil"
	s.refused(wire.OpInsertOne, Doc{"_id": "x"})
	s.Database = ""
	s.collection = ""
	s.refused(wire.OpInsertOne, Doc{"_id": "x"}, "collection")
}

func statsFlushReadTS(t *testing.T, s *session) {
	ts := func() uint64 { return decode[map[string]uint64](t, s.must(wire.OpReadTS, Doc{}))["ts"] }
	before := ts()
	s.insert(Doc{"_id": "x"})
	if after := ts(); after <= before {
		t.Errorf("ReadTS went from %d to %d over a write", before, after)
	}
	s.must(wire.OpFlush, Doc{})
	if stats := decode[Doc](t, s.must(wire.OpStats, Doc{})); len(stats) == 0 {
		t.Error("Stats is empty")
	}
}

func batch(t *testing.T, s *session) {
	member := func(id uint32, op wire.Op, args any) wire.Request {
		request := *s.NewRequest(op, s.collection, args)
		request.ID = id
		return request
	}
	type batchResult struct {
		IsBatch   bool            `msgpack:"is_batch"`
		Responses []wire.Response `msgpack:"responses"`
	}
	got := decode[batchResult](t, s.must(wire.OpBatch, Doc{"requests": []wire.Request{
		member(101, wire.OpInsertOne, Doc{"_id": "b1"}),
		member(102, wire.OpInsertOne, Doc{"_id": "b1"}),
		member(103, wire.OpInsertOne, Doc{"_id": "b2"}),
		member(104, 99, Doc{}),
		member(105, wire.OpCount, Doc{}),
		member(106, wire.OpFindByID, Doc{"id": "absent"}),
	}}))
	if !got.IsBatch || len(got.Responses) != 6 {
		t.Fatalf("got %+v", got)
	}
	for i, response := range got.Responses {
		if response.ID != uint32(101+i) {
			t.Errorf("response %d has id %d", i, response.ID)
		}
		if failed := response.Error != ""; failed != (i == 1 || i == 3) {
			t.Errorf("response %d: error %q", i, response.Error)
		}
	}
	if n := decode[map[string]int](t, got.Responses[4].Result)["count"]; n != 2 {
		t.Errorf("count in the batch is %d", n)
	}
	if !bytes.Equal(got.Responses[5].Result, []byte{0xc0}) {
		t.Errorf("nothing found in a batch is % x, want nil", got.Responses[5].Result)
	}
	empty := decode[batchResult](t, s.must(wire.OpBatch, Doc{"requests": []wire.Request{}}))
	if !empty.IsBatch || len(empty.Responses) != 0 {
		t.Errorf("empty batch: %+v", empty)
	}
	s.refused(wire.OpBatch, Doc{"requests": 7}, "requests")
}

func txBatch(t *testing.T, s *session) {
	type txResult struct {
		Success bool   `msgpack:"success"`
		Error   string `msgpack:"error"`
		ID      string `msgpack:"id"`
	}
	type txBatchResult struct {
		Success    bool       `msgpack:"success"`
		Error      string     `msgpack:"error"`
		Results    []txResult `msgpack:"results"`
		RolledBack bool       `msgpack:"rolled_back"`
	}
	operation := func(op wire.Op, args Doc) Doc {
		return Doc{"op": uint8(op), "collection": s.collection, "args": args}
	}
	run := func(operations ...Doc) txBatchResult {
		t.Helper()
		raw, err := s.Call(wire.OpTxBatch, "", Doc{"operations": operations})
		if err != nil {
			t.Fatal(err)
		}
		return decode[txBatchResult](t, raw)
	}
	s.insertMany([]Doc{{"_id": "old", "n": 1}, {"_id": "gone", "n": 1}})
	got := run(operation(wire.OpInsertOne, Doc{"doc": Doc{"_id": "new", "n": 5}}),
		operation(wire.OpUpdateOne, Doc{"filter": Doc{"_id": "old"}, "update": Doc{"$inc": Doc{"n": 1}}}),
		operation(wire.OpDeleteOne, Doc{"filter": Doc{"_id": "gone"}}))
	if !got.Success || got.RolledBack || len(got.Results) != 3 || got.Results[0].ID != "new" {
		t.Fatalf("got %+v", got)
	}
	if s.byID("new") == nil || s.byID("gone") != nil || fmt.Sprint(s.docByID("old")["n"]) != "2" {
		t.Error("not all of it happened")
	}
	got = run(operation(wire.OpInsertOne, Doc{"doc": Doc{"_id": "another"}}),
		operation(wire.OpInsertOne, Doc{"doc": Doc{"_id": "new"}}))
	if got.Success || !got.RolledBack || got.Error == "" {
		t.Fatalf("got %+v", got)
	}
	if s.byID("another") != nil {
		t.Error("a part of a failed transaction is visible")
	}
}

func aggregate(t *testing.T, s *session) {
	s.insertMany(numbered(20))
	run := func(stages ...Doc) []Doc {
		t.Helper()
		return decode[[]Doc](t, s.must(wire.OpAggregate, Doc{"pipeline": stages}))
	}
	got := run(Doc{"$match": Doc{"even": true}}, Doc{"$sort": Doc{"n": -1}}, Doc{"$skip": 1}, Doc{"$limit": 3},
		Doc{"$project": Doc{"n": 1}})
	if fmt.Sprint(got) != "[map[_id:00016 n:16] map[_id:00014 n:14] map[_id:00012 n:12]]" {
		t.Errorf("got %v", got)
	}
	got = run(Doc{"$match": Doc{"n": Doc{"$gte": 15}}}, Doc{"$count": "total"})
	if fmt.Sprint(got) != "[map[total:5]]" {
		t.Errorf("got %v", got)
	}
	s.refused(wire.OpAggregate, Doc{"pipeline": []Doc{{"$frobnicate": Doc{}}}}, "$frobnicate")
	s.refused(wire.OpAggregate, Doc{"pipeline": Doc{}}, "pipeline")

	seen := 0
	args := Doc{"pipeline": []Doc{{"$sort": Doc{"n": 1}}}, "batch_size": 6}
	for batch := 0; ; batch++ {
		if batch > 20 {
			t.Fatal("the stream does not end")
		}
		page := decode[streamPage](t, s.must(wire.OpAggregateStream, args))
		for _, doc := range page.Docs {
			if fmt.Sprint(doc["n"]) != fmt.Sprint(seen) {
				t.Fatalf("at %d: %v", seen, doc)
			}
			seen++
		}
		if len(page.Cursor) == 0 {
			break
		}
		args["cursor"] = page.Cursor
	}
	if seen != 20 {
		t.Errorf("AggregateStream gave %d of 20", seen)
	}
}

type streamPage struct {
	Docs   []Doc  `msgpack:"docs"`
	Cursor []byte `msgpack:"cursor"`
}

// stream reads a whole stream; `between` runs after its first batch.
func (s *session) stream(args Doc, between func()) (docs []Doc, batches int) {
	s.t.Helper()
	for {
		page := decode[streamPage](s.t, s.must(wire.OpFindManyStream, args))
		batches++
		docs = append(docs, page.Docs...)
		if len(page.Cursor) == 0 {
			return docs, batches
		}
		if len(page.Docs) == 0 || batches > 10000 {
			s.t.Fatalf("batch %d has %d documents and goes on", batches, len(page.Docs))
		}
		if limit, limited := args["limit"].(int); limited && len(page.Docs) > limit {
			s.t.Fatalf("%d documents in a batch of %d", len(page.Docs), limit)
		}
		if between != nil {
			between()
			between = nil
		}
		args["cursor"] = page.Cursor
	}
}

func streaming(t *testing.T, s *session) {
	const count = 1000
	s.insertMany(numbered(count))
	for _, limit := range []int{1000, 999, 100, 7} {
		docs, batches := s.stream(Doc{"query": Doc{}, "limit": limit}, nil)
		seen := map[any]bool{}
		for _, doc := range docs {
			seen[doc["_id"]] = true
		}
		if len(docs) != count || len(seen) != count {
			t.Errorf("limit %d: %d documents, %d different", limit, len(docs), len(seen))
		}
		if batches < count/limit {
			t.Errorf("limit %d: %d batches", limit, batches)
		}
	}
	docs, _ := s.stream(Doc{"query": Doc{"even": true}, "fields": []string{"n"}, "limit": 64}, nil)
	if len(docs) != count/2 {
		t.Errorf("%d even documents", len(docs))
	}
	for _, doc := range docs {
		if _, projected := doc["even"]; projected || doc["_id"] == nil || doc["n"] == nil {
			t.Fatalf("projected %v", doc)
		}
	}
	// Without a limit the server chooses one.
	if docs, _ := s.stream(Doc{"query": Doc{}}, nil); len(docs) != count {
		t.Errorf("%d documents without a limit", len(docs))
	}
	if docs, _ := s.stream(Doc{"query": Doc{"n": -1}}, nil); len(docs) != 0 {
		t.Errorf("found %v", docs)
	}
	s.refused(wire.OpFindManyStream, Doc{"query": Doc{}, "cursor": []byte("no cursor of ours")}, "cursor")
}

// All batches show the collection as it was at the first.
func streamSnapshot(t *testing.T, s *session) {
	s.insertMany(numbered(100))
	docs, _ := s.stream(Doc{"query": Doc{}, "limit": 10}, func() {
		other := dial(t, s.Options)
		other.collection = s.collection
		other.count(wire.OpDeleteMany, Doc{"filter": Doc{"even": true}})
		other.count(wire.OpUpdateMany, Doc{"filter": Doc{}, "update": Doc{"$set": Doc{"n": -1}}})
		other.insert(Doc{"_id": "later", "n": 0})
	})
	if len(docs) != 100 {
		t.Errorf("%d documents", len(docs))
	}
	for _, doc := range docs {
		if doc["_id"] == "later" || fmt.Sprint(doc["n"]) == "-1" {
			t.Fatalf("%v was written after the stream began", doc)
		}
	}
}

func pagination(t *testing.T, s *session) {
	s.insertMany(numbered(95))
	page := func(query Doc, skip, limit int) []Doc {
		t.Helper()
		return decode[[]Doc](t, s.must(wire.OpFindPaginated, Doc{"query": query, "skip": skip, "limit": limit}))
	}
	seen := map[any]bool{}
	for skip := 0; skip < 100; skip += 10 {
		docs := page(Doc{}, skip, 10)
		if want := min(10, 95-skip); len(docs) != want {
			t.Errorf("page at %d has %d documents, want %d", skip, len(docs), want)
		}
		for _, doc := range docs {
			seen[doc["_id"]] = true
		}
	}
	if len(seen) != 95 {
		t.Errorf("the pages show %d different documents", len(seen))
	}
	if docs := page(Doc{}, 1000, 10); len(docs) != 0 {
		t.Errorf("behind the end: %v", docs)
	}
	if docs := page(Doc{"even": true}, 40, 0); len(docs) != 8 {
		t.Errorf("limit 0 means no limit: %d documents", len(docs))
	}
	s.refused(wire.OpFindPaginated, Doc{"query": Doc{}, "skip": -1, "limit": 1}, "skip")
}

// Indexes work or are refused in words that say so; silence is neither.
func indexes(t *testing.T, s *session) {
	s.insertMany(append(numbered(50), Doc{"_id": "odd", "n": "not a number"}))
	attempt := func(op wire.Op, args Doc) (msgpack.RawMessage, bool) {
		t.Helper()
		raw, err := s.Call(op, s.collection, args)
		if err != nil {
			if !strings.Contains(strings.ToLower(err.Error()), "index") {
				t.Errorf("op %d: %v does not say that indexes are missing", op, err)
			}
			t.Logf("op %d: %v", op, err)
			return nil, false
		}
		return raw, true
	}
	type buildResult struct {
		Indexed   int   `msgpack:"indexed"`
		Skipped   int   `msgpack:"skipped"`
		Issues    []Doc `msgpack:"issues"`
		Truncated bool  `msgpack:"truncated"`
	}
	if raw, works := attempt(wire.OpCreateIndex, Doc{"field": "n", "value_type": "integer"}); works {
		got := decode[buildResult](t, raw)
		if got.Indexed != 50 || got.Skipped != 1 || len(got.Issues) != 1 || got.Issues[0]["id"] != "odd" {
			t.Errorf("CreateIndex: %+v", got)
		}
	}
	if raw, works := attempt(wire.OpCreateIndex, Doc{"field": "", "fields": []Doc{
		{"name": "even", "value_type": "boolean"}, {"name": "n", "value_type": "integer"}}}); works {
		if got := decode[buildResult](t, raw); got.Indexed != 50 {
			t.Errorf("compound CreateIndex: %+v", got)
		}
	}
	// What the indexes do, by the server's own account; other servers do not have this option.
	explain := func(op wire.Op, args Doc) Doc {
		t.Helper()
		args["explain"] = true
		raw, err := s.Call(op, s.collection, args)
		if err != nil {
			t.Fatalf("explain of op %d: %v", op, err)
		}
		return decode[Doc](t, raw)
	}
	for _, op := range []wire.Op{wire.OpFind, wire.OpFindOne, wire.OpFindPaginated, wire.OpFindManyStream, wire.OpFindManyCount} {
		if got := explain(op, Doc{"query": Doc{"n": 7}}); got["plan"] == "scan of all documents" {
			t.Errorf("explain of op %d: %v", op, got)
		}
		if got := explain(op, Doc{"query": Doc{"n": 7}, "hint": Doc{"$natural": 1}}); got["plan"] != "scan of all documents" {
			t.Errorf("explain of op %d with $natural: %v", op, got)
		}
	}
	explain(wire.OpUpdateMany, Doc{"filter": Doc{"n": 7}, "update": Doc{"$set": Doc{"n": 8}}})
	explain(wire.OpDeleteMany, Doc{"filter": Doc{"n": 7}})
	explain(wire.OpAggregate, Doc{"pipeline": []Doc{{"$match": Doc{"n": 7}}}})
	if got := s.find(Doc{"n": 7}); len(got) != 1 {
		t.Errorf("an explained delete or update changed something: %v", ids(got))
	}
	raw, err := s.Call(wire.OpFind, s.collection, Doc{
		"query": Doc{"n": Doc{"$lt": 10}}, "sort": []Doc{{"even": -1}, {"n": 1}}, "skip": 1, "limit": 2,
		"projection": Doc{"_id": 0, "n": 1}, "hint": "n"})
	if err != nil {
		t.Fatal(err)
	}
	if got := decode[[]map[string]int](t, raw); len(got) != 2 || got[0]["n"] != 2 || got[1]["n"] != 4 {
		t.Errorf("sorted: %v", got)
	}
	s.refused(wire.OpFind, Doc{"query": Doc{}, "hint": "absent"}, "absent")
	if raw, works := attempt(wire.OpListIndexes, Doc{}); works {
		names := map[any]Doc{}
		for _, index := range decode[[]Doc](t, raw) {
			names[index["name"]] = index
		}
		for _, name := range []string{"_id_", "n", "even,n"} {
			if names[name] == nil {
				t.Errorf("ListIndexes lacks %s: %v", name, names)
			}
		}
	}
	attempt(wire.OpRebuildIndex, Doc{"field": "n"})
	attempt(wire.OpDropIndex, Doc{"field": "n"})
	// Whatever became of the index, the answers stay the same.
	if got := s.find(Doc{"n": Doc{"$gte": 45}}); len(got) != 5 {
		t.Errorf("found %v", ids(got))
	}
}

func transactions(t *testing.T, s *session) {
	begin := func() string {
		t.Helper()
		raw, err := s.Call(wire.OpBeginTx, "", Doc{})
		if err != nil {
			t.Fatalf("BeginTx: %v", err)
		}
		id := decode[map[string]string](t, raw)["tx_id"]
		if id == "" {
			t.Fatal("no tx_id")
		}
		return id
	}
	end := func(op wire.Op, tx string) error {
		_, err := s.Call(op, "", Doc{"tx_id": tx})
		return err
	}
	s.insertMany([]Doc{{"_id": "a", "n": 1}, {"_id": "b", "n": 1}, {"_id": "c", "n": 1}})

	tx := begin()
	s.must(wire.OpTxInsertOne, Doc{"tx_id": tx, "doc": Doc{"_id": "new", "n": 7}})
	if n := s.count(wire.OpTxUpdateOne, Doc{"tx_id": tx, "filter": Doc{"_id": "a"}, "update": Doc{"$inc": Doc{"n": 1}}}); n != 1 {
		t.Errorf("TxUpdateOne: %d", n)
	}
	if n := s.count(wire.OpTxDeleteOne, Doc{"tx_id": tx, "filter": Doc{"_id": "b"}}); n != 1 {
		t.Errorf("TxDeleteOne: %d", n)
	}
	// The transaction sees its own writes, others do not.
	if raw := s.must(wire.OpTxFindByID, Doc{"tx_id": tx, "id": "new"}); fmt.Sprint(decode[Doc](t, raw)["n"]) != "7" {
		t.Errorf("TxFindByID: % x", raw)
	}
	if raw := s.must(wire.OpTxFindOne, Doc{"tx_id": tx, "query": Doc{"_id": "a"}}); fmt.Sprint(decode[Doc](t, raw)["n"]) != "2" {
		t.Errorf("TxFindOne: % x", raw)
	}
	if raw := s.must(wire.OpTxFindByID, Doc{"tx_id": tx, "id": "b"}); !bytes.Equal(raw, []byte{0xc0}) {
		t.Errorf("TxFindByID of a deleted document: % x, want nil", raw)
	}
	if s.byID("new") != nil || s.byID("b") == nil || fmt.Sprint(s.docByID("a")["n"]) != "1" {
		t.Error("an uncommitted transaction is visible")
	}
	// The published client's pool sends each request over another connection.
	other := dial(t, s.Options)
	if _, err := other.Call(wire.OpTxCommit, "", Doc{"tx_id": tx}); err != nil {
		t.Fatalf("TxCommit over another connection: %v", err)
	}
	if s.byID("new") == nil || s.byID("b") != nil || fmt.Sprint(s.docByID("a")["n"]) != "2" {
		t.Error("not all of a committed transaction is visible")
	}
	if end(wire.OpTxCommit, tx) == nil {
		t.Error("committed twice")
	}

	tx = begin()
	s.must(wire.OpTxInsertOne, Doc{"tx_id": tx, "doc": Doc{"_id": "never"}})
	if err := end(wire.OpTxRollback, tx); err != nil {
		t.Fatal(err)
	}
	if s.byID("never") != nil {
		t.Error("a rolled back document is there")
	}
	s.refused(wire.OpTxFindByID, Doc{"tx_id": tx, "id": "a"})
	s.refused(wire.OpTxInsertOne, Doc{"tx_id": "no such", "doc": Doc{}})

	// First committer wins.
	first, second := begin(), begin()
	increment := Doc{"$inc": Doc{"n": 10}}
	s.count(wire.OpTxUpdateOne, Doc{"tx_id": first, "filter": Doc{"_id": "c"}, "update": increment})
	_, err := s.Call(wire.OpTxUpdateOne, s.collection, Doc{"tx_id": second, "filter": Doc{"_id": "c"}, "update": increment})
	if firstErr := end(wire.OpTxCommit, first); firstErr != nil {
		t.Fatalf("the first committer: %v", firstErr)
	}
	if err == nil {
		err = end(wire.OpTxCommit, second)
	}
	if err == nil || !strings.Contains(strings.ToLower(err.Error()), "conflict") {
		t.Errorf("the second committer: %v, want a conflict", err)
	}
	if got := s.docByID("c"); fmt.Sprint(got["n"]) != "11" {
		t.Errorf("read %v", got)
	}

	// A snapshot does not move.
	tx = begin()
	s.must(wire.OpTxFindByID, Doc{"tx_id": tx, "id": "c"})
	s.count(wire.OpUpdateOne, Doc{"filter": Doc{"_id": "c"}, "update": Doc{"$set": Doc{"n": 99}}})
	if raw := s.must(wire.OpTxFindByID, Doc{"tx_id": tx, "id": "c"}); fmt.Sprint(decode[Doc](t, raw)["n"]) != "11" {
		t.Errorf("the snapshot moved: %v", decode[Doc](t, raw))
	}
	if err := end(wire.OpTxRollback, tx); err != nil {
		t.Fatal(err)
	}
}

func noReply(t *testing.T, s *session) {
	for i := range 10 {
		request := s.NewRequest(wire.OpInsertOne, s.collection, Doc{"_id": fmt.Sprint("quiet", i)})
		request.NoReply = true
		if err := s.Send(request); err != nil {
			t.Fatal(err)
		}
	}
	request := s.NewRequest(99, s.collection, Doc{}) // a failing one gets no answer either
	request.NoReply = true
	if err := s.Send(request); err != nil {
		t.Fatal(err)
	}
	// Call fails if the next response belongs to another request.
	if n := s.count(wire.OpCount, Doc{}); n != 10 {
		t.Errorf("%d documents", n)
	}
}

func pipelining(t *testing.T, s *session) {
	const count = 500
	var sent []uint32
	for i := range count {
		request := s.NewRequest(wire.OpInsertOne, s.collection, Doc{"_id": fmt.Sprintf("%05d", i)})
		if i%2 == 1 {
			request = s.NewRequest(wire.OpFindByID, s.collection, Doc{"id": fmt.Sprintf("%05d", i-1)})
		}
		sent = append(sent, request.ID)
		if err := s.Send(request); err != nil {
			t.Fatal(err)
		}
	}
	for i, id := range sent {
		response, err := s.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if response.ID != id || response.Error != "" {
			t.Fatalf("response %d has id %d, error %q; want id %d", i, response.ID, response.Error, id)
		}
		if i%2 == 1 && bytes.Equal(response.Result, []byte{0xc0}) {
			t.Fatalf("request %d does not see the write before it on the same connection", i)
		}
	}
}

func requestForms(t *testing.T, s *session) {
	s.insert(Doc{"_id": "x"})
	auth := s.NewRequest(0, "", nil).Auth
	// Every width and sign of integer, keys reversed, a key nobody knows.
	for i, request := range [][]any{
		{"nr", false, "args", Doc{"id": "x"}, "collection", s.collection, "op", int64(10), "id", int64(5), "auth", auth},
		{"later", []any{1, Doc{"a": 2}}, "op", uint64(10), "id", uint64(5), "args", Doc{"id": "x"}, "collection", s.collection, "auth", auth},
		{"op", int8(10), "id", int16(5), "collection", s.collection, "args", Doc{"id": "x"}, "auth", auth, "database", ""},
	} {
		var payload bytes.Buffer
		encoder := msgpack.NewEncoder(&payload)
		if err := encoder.EncodeMapLen(len(request) / 2); err != nil {
			t.Fatal(err)
		}
		for _, part := range request {
			if err := encoder.Encode(part); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.WritePayload(payload.Bytes()); err != nil {
			t.Fatal(err)
		}
		response, err := s.Receive()
		if err != nil {
			t.Fatalf("form %d: %v", i, err)
		}
		if response.Error != "" || response.ID != 5 || len(response.Result) < 2 {
			t.Errorf("form %d: %+v", i, response)
		}
	}
}

func unicode(t *testing.T, s *session) {
	texts := []string{"naïve", "Ελλάδα", "日本語テキスト", "🙂👩‍👩‍👧‍👦", "עברית", "e\u0301 is not \u00e9", "tab\tnewline\nquote\"",
		"\u0000 zero", "\ufeff bom", "\u2028", strings.Repeat("長", 100)}
	for i, text := range texts {
		doc := encode(t, Doc{"_id": text, "field " + text: text, "n": i})
		if got := s.insert(msgpack.RawMessage(doc)); got != text {
			t.Errorf("id %q became %q", text, got)
		}
		if got := s.byID(text); !bytes.Equal(got, doc) {
			t.Errorf("%q: read % x\nwrote % x", text, got, doc)
		}
		if got := s.find(Doc{"field " + text: text}); len(got) != 1 {
			t.Errorf("%q: found %d", text, len(got))
		}
	}
	// Composed and decomposed forms are different texts.
	if s.byID("\u00e9 is not \u00e9") != nil {
		t.Error("the text was normalised")
	}
	s.collection = "collection 日本 🙂"
	s.insert(Doc{"_id": "x"})
	if s.byID("x") == nil {
		t.Error("not found in a collection with a Unicode name")
	}
	if got := s.find(Doc{"_id": Doc{"$regex": "^.$"}}); len(got) != 1 {
		t.Errorf("found %d", len(got))
	}
}
