// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Says which plugins it was built with, one kind a line. Nothing else: not even the engine.

#include <iostream>
#include <string_view>

#include "plugin/cache.h"
#include "plugin/ciphers.h"
#include "plugin/codecs.h"
#include "plugin/durability.h"

namespace {

template <class List>
void Print(std::string_view kind) {
  std::cout << kind << ":";
  List::ForEach([](auto policy) { std::cout << ' ' << decltype(policy)::type::kName; });
  std::cout << '\n';
}

}  // namespace

int main() {
  std::cout << "cache: " << alos::plugin::Cache::kName << '\n';
  Print<alos::plugin::Ciphers>("cipher");
  Print<alos::plugin::Codecs>("codec");
  Print<alos::plugin::DurabilityPolicies>("durability");
}
