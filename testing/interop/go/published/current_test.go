//go:build current

// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

package published

import (
	"fmt"
	"strings"
	"testing"

	alosdb "github.com/guno1928/alosdbclient"
)

func TestStreamsPagesAndProjections(t *testing.T) {
	c := connect(t, start(t)).Collection("numbers")
	docs := make([]alosdb.Document, 500)
	for i := range docs {
		docs[i] = alosdb.Document{"_id": fmt.Sprintf("%03d", i), "n": i, "text": "x"}
	}
	_, err := c.InsertMany(docs)
	check(t, err)
	seen := map[string]bool{}
	check(t, c.FindManyStream(alosdb.Document{}, alosdb.StreamOptions{Fields: []string{"n"}, BatchSize: 64},
		func(batch []alosdb.Document) error {
			for _, doc := range batch {
				seen[doc.GetID()] = true
				if doc["text"] != nil {
					t.Errorf("projected %v", doc)
				}
			}
			return nil
		}))
	if len(seen) != len(docs) {
		t.Errorf("the stream gave %d", len(seen))
	}
	total := 0
	check(t, c.AggregateStream([]alosdb.Document{{"$match": alosdb.Document{"n": alosdb.Document{"$lt": 100}}}},
		alosdb.StreamOptions{BatchSize: 7}, func(batch []alosdb.Document) error {
			total += len(batch)
			return nil
		}))
	if total != 100 {
		t.Errorf("AggregateStream gave %d", total)
	}
	if n, err := c.FindManyCount(alosdb.Document{"n": alosdb.Document{"$gte": 200}}); err != nil || n != 300 {
		t.Errorf("FindManyCount: %d, %v", n, err)
	}
	page, err := c.FindPaginated(alosdb.Document{}, 490, 20)
	check(t, err)
	if len(page) != 10 {
		t.Errorf("page of %d", len(page))
	}
	page, err = c.FindPaginatedProjected(alosdb.Document{}, []string{"n"}, 0, 3)
	check(t, err)
	if len(page) != 3 || page[0]["text"] != nil {
		t.Errorf("page %v", page)
	}
	page, err = c.FindManyProjected(alosdb.Document{"n": 7}, []string{"text"})
	check(t, err)
	if len(page) != 1 || page[0]["n"] != nil || page[0]["text"] != "x" {
		t.Errorf("projected %v", page)
	}
}

// Indexes work, or are refused in words that say so.
func TestIndexCalls(t *testing.T) {
	c := connect(t, start(t)).Collection("indexed")
	_, err := c.InsertMany([]alosdb.Document{{"_id": "a", "n": 1, "s": "x"}, {"_id": "b", "n": 2, "s": "y"}})
	check(t, err)
	result, err := c.CreateIndex("n", alosdb.IndexValueInteger)
	if err == nil && result.Indexed != 2 || err != nil && !strings.Contains(err.Error(), "index") {
		t.Errorf("CreateIndex: %+v, %v", result, err)
	}
	result, err = c.CreateCompoundIndex([]alosdb.IndexField{
		{Name: "s", ValueType: alosdb.IndexValueString}, {Name: "n", ValueType: alosdb.IndexValueInteger}})
	if err == nil && result.Indexed != 2 || err != nil && !strings.Contains(err.Error(), "index") {
		t.Errorf("CreateCompoundIndex: %+v, %v", result, err)
	}
	c.ListIndexes()
	if err := c.RebuildIndex("n"); err != nil && !strings.Contains(err.Error(), "index") {
		t.Errorf("RebuildIndex: %v", err)
	}
	c.DropIndex("n")
	docs, err := c.FindMany(alosdb.Document{"n": 2})
	check(t, err)
	if len(docs) != 1 || docs[0].GetID() != "b" {
		t.Errorf("found %v", docs)
	}
}
