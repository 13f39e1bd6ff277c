// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

// Package published runs the published client, unmodified, against the server.
// run.sh fetches one pinned commit after the other and runs this with it; the
// build tag `current` adds what only the newer commit's interfaces have.
package published

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"alos.test/interop/harness"

	alosdb "github.com/guno1928/alosdbclient"
)

const (
	username = "admin"
	password = "pässwörd 秘密"
	poolSize = 16
)

func start(t *testing.T) *harness.Server {
	t.Helper()
	return harness.Start(t, harness.Options{Username: username, Password: password})
}

func connect(t *testing.T, server *harness.Server) alosdb.DatabaseInterface {
	t.Helper()
	db, err := alosdb.ConnectWithConfig(&alosdb.ClientConfig{ServerAddr: server.Address, PoolSize: poolSize,
		Username: username, Password: password, RequestTimeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestCollectionMethods(t *testing.T) {
	db := connect(t, start(t))
	c := db.Collection("people")
	if c.GetName() != "people" {
		t.Errorf("name %q", c.GetName())
	}
	if there, err := c.HasCollection(); err != nil || there {
		t.Errorf("before the first write: %v, %v", there, err)
	}
	id, err := c.InsertOne(alosdb.Document{"name": "Zoë", "age": 41})
	check(t, err)
	doc, err := c.FindOne(alosdb.Document{"_id": id})
	check(t, err)
	if doc.GetID() != id || doc["name"] != "Zoë" {
		t.Errorf("read %v", doc)
	}
	if there, err := c.HasCollection(); err != nil || !there {
		t.Errorf("after the first write: %v, %v", there, err)
	}
	made, err := c.InsertMany([]alosdb.Document{
		{"_id": "b", "name": "Bob", "age": 30}, {"_id": "c", "name": "Cleo", "age": 50}})
	check(t, err)
	if fmt.Sprint(made) != "[b c]" {
		t.Errorf("ids %v", made)
	}
	docs, err := c.FindMany(alosdb.Document{"age": alosdb.Document{"$gte": 41}})
	check(t, err)
	if len(docs) != 2 {
		t.Errorf("found %v", docs)
	}
	check(t, c.UpdateOne(alosdb.Document{"_id": "b"}, alosdb.Document{"$set": alosdb.Document{"age": 31}}))
	n, err := c.UpdateMany(alosdb.Document{}, alosdb.Document{"$inc": alosdb.Document{"age": 1}})
	check(t, err)
	if n != 3 {
		t.Errorf("UpdateMany: %d", n)
	}
	doc, err = c.FindOneReadonly(alosdb.Document{"name": "Bob"})
	check(t, err)
	if fmt.Sprint(doc["age"]) != "32" {
		t.Errorf("read %v", doc)
	}
	inserted, err := c.UpsertOne(alosdb.Document{"_id": "d"}, alosdb.Document{"$set": alosdb.Document{"name": "Dan"}})
	check(t, err)
	if !inserted {
		t.Error("UpsertOne did not insert")
	}
	matched, added, err := c.UpsertMany(alosdb.Document{"name": "Dan"}, alosdb.Document{"$set": alosdb.Document{"age": 1}})
	check(t, err)
	if matched != 1 || added != 0 {
		t.Errorf("UpsertMany: %d, %d", matched, added)
	}
	docs, err = c.Aggregate([]alosdb.Document{{"$match": alosdb.Document{"age": alosdb.Document{"$lt": 40}}},
		{"$sort": alosdb.Document{"age": 1}}})
	check(t, err)
	if len(docs) != 2 || docs[0]["name"] != "Dan" {
		t.Errorf("Aggregate: %v", docs)
	}
	if c.Count() != 4 {
		t.Errorf("Count: %d", c.Count())
	}
	check(t, c.DeleteOne(alosdb.Document{"_id": "d"}))
	n, err = c.DeleteMany(alosdb.Document{"age": alosdb.Document{"$gt": 40}})
	check(t, err)
	if n != 2 {
		t.Errorf("DeleteMany: %d", n)
	}
	docs, err = c.FindManyReadonly(alosdb.Document{})
	check(t, err)
	if len(docs) != 1 {
		t.Errorf("left: %v", docs)
	}
	// Nothing found is a nil result, which the client may report as an error of decoding.
	if doc, err := c.FindOne(alosdb.Document{"_id": "absent"}); doc != nil {
		t.Errorf("nothing found: %v, %v", doc, err)
	}
	if _, err := c.InsertOne(alosdb.Document{"_id": "b"}); err == nil {
		t.Error("a duplicate id was accepted")
	}
	c.Drop()
	if c.Count() != 0 {
		t.Errorf("after Drop: %d", c.Count())
	}
}

func TestDatabaseMethods(t *testing.T) {
	server := start(t)
	db := connect(t, server)
	check(t, db.CreateCollection("made"))
	if there, err := db.Collection("made").HasCollection(); err != nil || !there {
		t.Errorf("%v, %v", there, err)
	}
	if stats := db.GetStats(); len(stats) == 0 {
		t.Error("no statistics")
	}
	// WithCredentials opens the pool a second time, encrypted.
	other, err := alosdb.Connect(server.Address, alosdb.WithCredentials(username, password),
		alosdb.WithTimeout(30*time.Second), alosdb.WithDatabase("other"))
	check(t, err)
	defer other.Close()
	_, err = other.Collection("made").InsertOne(alosdb.Document{"_id": "x"})
	check(t, err)
	if there, err := db.DBExists("other"); err != nil || !there {
		t.Errorf("%v, %v", there, err)
	}
	if n := db.Collection("made").Count(); n != 0 {
		t.Errorf("the other database's document is here: %d", n)
	}
	if _, err := alosdb.Connect(server.Address, alosdb.WithCredentials(username, "wrong")); err == nil {
		t.Error("a wrong password was accepted")
	}
}

func TestTransactions(t *testing.T) {
	db := connect(t, start(t))
	accounts := db.Collection("accounts")
	_, err := accounts.InsertMany([]alosdb.Document{{"_id": "a", "n": 100}, {"_id": "b", "n": 0}})
	check(t, err)
	check(t, db.Transaction(func(tx alosdb.TransactionInterface) error {
		c := tx.Collection("accounts")
		if err := c.UpdateOne(alosdb.Document{"_id": "a"}, alosdb.Document{"$inc": alosdb.Document{"n": -30}}); err != nil {
			return err
		}
		if err := c.UpdateOne(alosdb.Document{"_id": "b"}, alosdb.Document{"$inc": alosdb.Document{"n": 30}}); err != nil {
			return err
		}
		_, err := c.InsertOne(alosdb.Document{"_id": "log"})
		return err
	}))
	failure := errors.New("changed my mind")
	if err := db.Transaction(func(tx alosdb.TransactionInterface) error {
		if err := tx.Collection("accounts").DeleteOne(alosdb.Document{"_id": "a"}); err != nil {
			return err
		}
		return failure
	}); !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
	for id, want := range map[string]string{"a": "70", "b": "30", "log": "<nil>"} {
		doc, err := accounts.FindOne(alosdb.Document{"_id": id})
		check(t, err)
		if doc == nil || fmt.Sprint(doc["n"]) != want {
			t.Errorf("%s: %v", id, doc)
		}
	}
	tx := db.BeginTransaction()
	if tx.GetID() == "" {
		t.Error("no transaction id")
	}
	_, err = tx.Collection("accounts").FindOne(alosdb.Document{"_id": "a"})
	check(t, err)
	_, err = tx.Collection("accounts").InsertOne(alosdb.Document{"_id": "never"})
	check(t, err)
	check(t, tx.Rollback())
	if doc, err := accounts.FindOne(alosdb.Document{"_id": "never"}); doc != nil {
		t.Errorf("%v, %v", doc, err)
	}
}

func TestTypesUnicodeAndTenMegabytes(t *testing.T) {
	c := connect(t, start(t)).Collection("日本 🙂")
	at := time.Date(2026, 8, 5, 1, 2, 3, 4000, time.UTC)
	large := bytes.Repeat([]byte("0123456789abcdef"), 10<<16)
	_, err := c.InsertOne(alosdb.Document{"_id": "ключ", "nil": nil, "yes": true, "int": int64(-1 << 60),
		"uint": uint64(1 << 63), "float": 1.25, "text": "e\u0301🙂", "bytes": []byte{0, 255}, "time": at,
		"list": []interface{}{"a", nil}, "map": map[string]interface{}{"k": "v"}, "large": large})
	check(t, err)
	doc, err := c.FindOne(alosdb.Document{"_id": "ключ"})
	check(t, err)
	if doc["nil"] != nil || doc["yes"] != true || fmt.Sprint(doc["int"]) != "-1152921504606846976" ||
		fmt.Sprint(doc["uint"]) != "9223372036854775808" || doc["float"] != 1.25 || doc["text"] != "e\u0301🙂" ||
		!bytes.Equal(doc["bytes"].([]byte), []byte{0, 255}) || !doc["time"].(time.Time).Equal(at) ||
		fmt.Sprint(doc["list"]) != "[a <nil>]" || fmt.Sprint(doc["map"]) != "map[k:v]" ||
		!bytes.Equal(doc["large"].([]byte), large) {
		delete(doc, "large")
		t.Errorf("read %v", doc)
	}
}

// The pool reconnects after the server was killed; nothing acknowledged is lost.
func TestPoolSurvivesAKilledServer(t *testing.T) {
	server := start(t)
	c := connect(t, server).Collection("kept")
	var group sync.WaitGroup
	for w := range 2 * poolSize {
		group.Add(1)
		go func() {
			defer group.Done()
			for i := range 50 {
				if _, err := c.InsertOne(alosdb.Document{"_id": fmt.Sprintf("%d-%d", w, i), "w": w}); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	group.Wait()
	server.Kill()
	server.Restart()
	for w := range 2 * poolSize {
		for i := range 50 {
			id := fmt.Sprintf("%d-%d", w, i)
			doc, err := c.FindOne(alosdb.Document{"_id": id})
			check(t, err)
			if doc.GetID() != id {
				t.Fatalf("%s reads %v", id, doc)
			}
		}
	}
}
