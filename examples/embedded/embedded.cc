// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// alos inside a program: no server, no network. Keeps a few books in ./books and asks for some.
//
//   ./bazelw run //examples/embedded

#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "alos/base/status_macros.h"
#include "alos/document/json.h"
#include "alos/engine/engine.h"

namespace {

absl::Status Insert(alos::Engine::Database& library, const std::string& json) {
  ALOS_ASSIGN_OR_RETURN(const std::string book, alos::JsonToMessagePack(json));
  ALOS_ASSIGN_OR_RETURN(const alos::ValueView document, alos::ValueView::Parse(book));
  return library.InsertOne("books", document).status();
}

absl::Status Run() {
  alos::EngineOptions options;
  options.data_path = "books";
  options.shards = 8;
  ALOS_ASSIGN_OR_RETURN(std::unique_ptr<alos::Engine> engine, alos::Engine::Open(options));
  ALOS_ASSIGN_OR_RETURN(alos::Engine::Database * library, engine->GetOrCreateDatabase("library"));

  ALOS_RETURN_IF_ERROR(Insert(
      *library, R"({"_id": "dune", "title": "Dune", "year": 1965, "tags": ["desert", "spice"]})"));
  ALOS_RETURN_IF_ERROR(
      Insert(*library, R"({"_id": "emma", "title": "Emma", "year": 1815, "tags": ["england"]})"));
  ALOS_RETURN_IF_ERROR(Insert(
      *library, R"({"_id": "solaris", "title": "Solaris", "year": 1961, "tags": ["ocean"]})"));

  // Filters, updates and sorts are documents, as in MongoDB.
  ALOS_ASSIGN_OR_RETURN(const std::string recent,
                        alos::JsonToMessagePack(R"({"year": {"$gt": 1900}})"));
  ALOS_ASSIGN_OR_RETURN(const alos::Filter filter,
                        alos::Filter::Compile(alos::ValueView::FromTrusted(recent)));
  ALOS_ASSIGN_OR_RETURN(const std::string by_year, alos::JsonToMessagePack(R"({"year": 1})"));
  ALOS_ASSIGN_OR_RETURN(const alos::Sort sort,
                        alos::Sort::Compile(alos::ValueView::FromTrusted(by_year)));
  alos::FindQuery query;
  query.filter = &filter;
  query.sort = &sort;
  ALOS_RETURN_IF_ERROR(library->Find("books", query, [](alos::ValueView book) {
    std::cout << alos::ToJson(book) << "\n";
    return true;  // go on
  }));

  // All or nothing: a transaction over several documents.
  ALOS_ASSIGN_OR_RETURN(const std::string lend,
                        alos::JsonToMessagePack(R"({"$set": {"lent_to": "Ada"}})"));
  ALOS_ASSIGN_OR_RETURN(const alos::Update update,
                        alos::Update::Compile(alos::ValueView::FromTrusted(lend)));
  auto transaction = library->BeginTransaction();
  ALOS_RETURN_IF_ERROR(transaction->UpdateOne("books", filter, update).status());
  ALOS_RETURN_IF_ERROR(transaction->Commit().status());

  ALOS_ASSIGN_OR_RETURN(const std::string lent, alos::JsonToMessagePack(R"({"lent_to": "Ada"})"));
  ALOS_ASSIGN_OR_RETURN(const alos::Filter is_lent,
                        alos::Filter::Compile(alos::ValueView::FromTrusted(lent)));
  ALOS_ASSIGN_OR_RETURN(const std::uint64_t count, library->Count("books", is_lent));
  std::cout << count << " book is lent\n";

  ALOS_RETURN_IF_ERROR(library->Drop("books"));  // so that the example can run again
  return engine->Close();
}

}  // namespace

int main() {
  const absl::Status status = Run();
  if (!status.ok()) std::cerr << status << "\n";
  return status.ok() ? EXIT_SUCCESS : EXIT_FAILURE;
}
