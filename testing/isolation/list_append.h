// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// A checker of histories of transactions over lists that are only appended to: the method of Elle
// (Kingsbury and Alvaro, VLDB 2020). Each element is appended once, so a list that is read tells
// which transactions wrote it, and in which order; from that follow dependencies, and a cycle of
// those is an anomaly.

#ifndef ALOS_TESTING_ISOLATION_LIST_APPEND_H_
#define ALOS_TESTING_ISOLATION_LIST_APPEND_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace alos::isolation {

// What is known of a transaction.
enum class Outcome {
  kCommitted,
  kAborted,
  kUnknown,  // the connection was lost before the answer came
};

struct ListOperation {
  bool is_append = false;
  std::int64_t key = 0;
  std::int64_t element = 0;             // of an append: used once in a history for each key
  std::vector<std::int64_t> list = {};  // of a read: what was found
};

struct ListTransaction {
  std::int64_t begin = 0;  // when it was asked for, and when its outcome was known: by one clock
  std::int64_t end = 0;
  Outcome outcome = Outcome::kCommitted;
  std::vector<ListOperation> operations;
};

// What a history is to be.
enum class ListModel {
  kSnapshotIsolation,  // strong: a snapshot has all that was acknowledged before it was taken
  kSerializability,    // strict: and in the order of real time
};

struct ListVerdict {
  std::vector<std::string> anomalies;  // "G1c: ...", each with the transactions, by their places
  std::size_t transactions = 0;        // that are known to have committed
  std::size_t edges = 0;
};

// Threads: none of its own. Cost: linear in the history, times the number of transactions that were
// under way at once.
inline ListVerdict CheckListAppend(const std::vector<ListTransaction>& history, ListModel model);

// --- Readers of the interface may stop here. ----------------------------------------------------

class ListChecker {
 public:
  ListChecker(const std::vector<ListTransaction>& history, ListModel model)
      : history_(history), model_(model) {}

  ListVerdict Run() {
    FindWriters();
    for (std::size_t i = 0; i < history_.size(); ++i) CheckInternal(i);
    FindOrders();
    FindCommitted();
    for (std::size_t i = 0; i < history_.size(); ++i) CheckReads(i);
    MakeEdges();
    MakeRealTimeEdges();
    FindCycles();
    verdict_.anomalies = std::move(anomalies_);
    return std::move(verdict_);
  }

 private:
  static constexpr std::size_t kAnomaliesMax = 20;
  enum Kind : std::uint8_t { kWriteWrite, kWriteRead, kRealTime, kReadWrite };
  struct Edge {
    std::uint32_t to;
    Kind kind;
  };
  using Position = std::pair<std::int64_t, std::int64_t>;  // key, element

  void Report(std::string text) {
    if (anomalies_.size() < kAnomaliesMax) anomalies_.push_back(std::move(text));
  }

  void FindWriters() {
    for (std::size_t i = 0; i < history_.size(); ++i) {
      for (const ListOperation& operation : history_[i].operations) {
        if (!operation.is_append) continue;
        if (!writers_.emplace(Position(operation.key, operation.element), i).second) {
          Report(absl::StrCat("history: element ", operation.element, " of key ", operation.key,
                              " was appended twice"));
        }
      }
    }
  }

  // A transaction sees its own appends, and nothing else changes while it lasts.
  void CheckInternal(std::size_t i) {
    // Of each key: what is known of its list. The beginning may not be.
    struct Known {
      bool is_whole = false;
      std::vector<std::int64_t> list;
    };
    absl::flat_hash_map<std::int64_t, Known> known;
    if (history_[i].outcome == Outcome::kAborted) return;
    for (const ListOperation& operation : history_[i].operations) {
      Known& of = known[operation.key];
      if (operation.is_append) {
        of.list.push_back(operation.element);
        continue;
      }
      const auto& list = operation.list;
      const bool is_right =
          of.is_whole ? list == of.list
                      : list.size() >= of.list.size() &&
                            std::equal(of.list.begin(), of.list.end(), list.end() - of.list.size());
      if (!is_right) {
        Report(absl::StrCat("internal: transaction ", i, " read [", absl::StrJoin(list, " "),
                            "] of key ", operation.key, " where it must have been ",
                            of.is_whole ? "[" : "[... ", absl::StrJoin(of.list, " "), "]"));
      }
      of = {true, list};
    }
  }

  // The order of a key's elements: that of the longest list that was read, of which every other one
  // must be the beginning.
  void FindOrders() {
    const auto each_read = [&](auto&& visit) {
      for (std::size_t i = 0; i < history_.size(); ++i) {
        if (history_[i].outcome == Outcome::kAborted) continue;
        // Without the own appends, which CheckInternal looks at.
        absl::flat_hash_map<std::int64_t, std::size_t> appended;
        for (const ListOperation& operation : history_[i].operations) {
          if (operation.is_append) {
            ++appended[operation.key];
            continue;
          }
          const std::size_t own = appended[operation.key];
          if (own == 0) {
            visit(i, operation);
          } else if (operation.list.size() >= own) {
            ListOperation others = operation;
            others.list.resize(operation.list.size() - own);
            visit(i, others);
          }
        }
      }
    };
    each_read([&](std::size_t, const ListOperation& read) {
      auto& order = orders_[read.key];
      if (read.list.size() > order.size()) order = read.list;
    });
    each_read([&](std::size_t i, const ListOperation& read) {
      const auto& order = orders_[read.key];
      if (!std::equal(read.list.begin(), read.list.end(), order.begin())) {
        Report(absl::StrCat("incompatible order: transaction ", i, " read [",
                            absl::StrJoin(read.list, " "), "] of key ", read.key, ", others [",
                            absl::StrJoin(order, " "), "]"));
      }
    });
    for (const auto& [key, order] : orders_) {
      std::set<std::int64_t> seen;
      for (const std::int64_t element : order) {
        if (!seen.insert(element).second)
          Report(
              absl::StrCat("duplicate: element ", element, " is twice in the list of key ", key));
        const auto writer = writers_.find(Position(key, element));
        if (writer == writers_.end())
          Report(absl::StrCat("garbage: nobody appended element ", element, " of key ", key));
      }
    }
  }

  // Of an unknown outcome, what others have seen is told by them.
  void FindCommitted() {
    committed_.assign(history_.size(), false);
    for (std::size_t i = 0; i < history_.size(); ++i)
      committed_[i] = history_[i].outcome == Outcome::kCommitted;
    for (const auto& [key, order] : orders_) {
      for (const std::int64_t element : order) {
        const auto writer = writers_.find(Position(key, element));
        if (writer != writers_.end() && history_[writer->second].outcome == Outcome::kUnknown)
          committed_[writer->second] = true;
      }
    }
    verdict_.transactions =
        static_cast<std::size_t>(std::count(committed_.begin(), committed_.end(), true));
    // All of it, or nothing: an append that the final lists do not have is lost.
    absl::flat_hash_map<Position, bool> in_order;
    for (const auto& [key, order] : orders_) {
      for (const std::int64_t element : order) in_order.emplace(Position(key, element), true);
    }
    for (std::size_t i = 0; i < history_.size(); ++i) {
      if (!committed_[i]) continue;
      for (const ListOperation& operation : history_[i].operations) {
        if (!operation.is_append || in_order.contains(Position(operation.key, operation.element)))
          continue;
        // Only if somebody read the key after we were done.
        const auto last = LastRead().find(operation.key);
        if (last != last_read_.end() && last->second > history_[i].end &&
            history_[i].outcome == Outcome::kCommitted) {
          Report(absl::StrCat("lost update: element ", operation.element, " of key ", operation.key,
                              ", which transaction ", i,
                              " appended, is in no list that was read later"));
        }
      }
    }
  }

  // When the last read of each key that committed began.
  const absl::flat_hash_map<std::int64_t, std::int64_t>& LastRead() {
    if (!last_read_.empty()) return last_read_;
    for (const ListTransaction& transaction : history_) {
      if (transaction.outcome == Outcome::kAborted) continue;
      for (const ListOperation& operation : transaction.operations) {
        if (operation.is_append) continue;
        auto& last = last_read_[operation.key];
        last = std::max(last, transaction.begin);
      }
    }
    last_read_.emplace(std::numeric_limits<std::int64_t>::min(), 0);
    return last_read_;
  }

  void CheckReads(std::size_t i) {
    if (history_[i].outcome == Outcome::kAborted) return;
    for (const ListOperation& operation : history_[i].operations) {
      if (operation.is_append) continue;
      for (const std::int64_t element : operation.list) {
        const auto writer = writers_.find(Position(operation.key, element));
        if (writer == writers_.end() || writer->second == i) continue;
        if (history_[writer->second].outcome == Outcome::kAborted) {
          Report(absl::StrCat("G1a (aborted read): transaction ", i, " read element ", element,
                              " of key ", operation.key, ", which transaction ", writer->second,
                              " appended and then aborted"));
        }
      }
      if (operation.list.empty()) continue;
      const auto last = writers_.find(Position(operation.key, operation.list.back()));
      if (last == writers_.end() || last->second == i) continue;
      bool is_after = false;
      for (const ListOperation& other : history_[last->second].operations) {
        if (!other.is_append || other.key != operation.key) continue;
        if (is_after) {
          Report(absl::StrCat("G1b (intermediate read): transaction ", i, " read element ",
                              operation.list.back(), " of key ", operation.key,
                              " as the last one, but transaction ", last->second, " appended ",
                              other.element, " behind it"));
          break;
        }
        is_after = other.element == operation.list.back();
      }
    }
  }

  void Add(std::size_t from, std::size_t to, Kind kind) {
    if (from == to || !committed_[from] || !committed_[to]) return;
    edges_[from].push_back({static_cast<std::uint32_t>(to), kind});
    ++verdict_.edges;
  }

  void MakeEdges() {
    edges_.assign(history_.size(), {});
    const auto writer_of = [&](std::int64_t key, std::int64_t element) {
      const auto found = writers_.find(Position(key, element));
      return found == writers_.end() ? std::optional<std::size_t>() : found->second;
    };
    absl::flat_hash_map<Position, std::size_t> next;  // of an element, the place behind it
    for (const auto& [key, order] : orders_) {
      for (std::size_t n = 0; n < order.size(); ++n) {
        next[Position(key, order[n])] = n + 1;
        const auto writer = writer_of(key, order[n]);
        if (n == 0 || !writer) continue;
        if (const auto before = writer_of(key, order[n - 1])) Add(*before, *writer, kWriteWrite);
      }
    }
    for (std::size_t i = 0; i < history_.size(); ++i) {
      if (!committed_[i]) continue;
      std::set<std::int64_t> appended;
      for (const ListOperation& operation : history_[i].operations) {
        if (operation.is_append) {
          appended.insert(operation.key);
          continue;
        }
        if (appended.contains(operation.key)) continue;
        const auto& order = orders_[operation.key];
        std::size_t place = 0;
        if (!operation.list.empty()) {
          if (const auto writer = writer_of(operation.key, operation.list.back()))
            Add(*writer, i, kWriteRead);
          const auto behind = next.find(Position(operation.key, operation.list.back()));
          place = behind == next.end() ? order.size() : behind->second;
        }
        if (place < order.size()) {
          if (const auto writer = writer_of(operation.key, order[place]))
            Add(i, *writer, kReadWrite);
        }
      }
    }
  }

  // What ended before something began comes before it. Only what others do not imply is kept.
  void MakeRealTimeEdges() {
    struct Event {
      std::int64_t time;
      bool is_begin;
      std::size_t transaction;
    };
    std::vector<Event> events;
    for (std::size_t i = 0; i < history_.size(); ++i) {
      if (!committed_[i]) continue;
      events.push_back({history_[i].begin, true, i});
      if (history_[i].outcome == Outcome::kCommitted) events.push_back({history_[i].end, false, i});
    }
    std::sort(events.begin(), events.end(), [](const Event& a, const Event& b) {
      return a.time != b.time ? a.time < b.time : a.is_begin && !b.is_begin;
    });
    std::set<std::size_t> frontier;
    std::vector<std::vector<std::size_t>> before(history_.size());
    for (const Event& event : events) {
      const std::size_t i = event.transaction;
      if (event.is_begin) {
        for (const std::size_t other : frontier) {
          Add(other, i, kRealTime);
          if (history_[i].outcome == Outcome::kCommitted) before[i].push_back(other);
        }
      } else {
        for (const std::size_t other : before[i]) frontier.erase(other);
        before[i].clear();
        frontier.insert(i);
      }
    }
  }

  // Which edges a search may follow.
  struct Search {
    const char* name;
    bool with_reads;
    bool with_time;
    int read_writes_max;  // in a cycle; -1: any number
  };

  void FindCycles() {
    // Strongly connected components of all edges, or of those that snapshot isolation forbids
    // cycles of: no two anti-dependencies one behind the other.
    if (model_ == ListModel::kSerializability) {
      for (const auto& component : Components(edges_)) Describe(component);
      return;
    }
    // Cerone and Gotsman: a cycle of (dependency or real time), each followed by at most one
    // anti-dependency.
    std::vector<std::vector<Edge>> composed(edges_.size());
    for (std::size_t a = 0; a < edges_.size(); ++a) {
      for (const Edge& edge : edges_[a]) {
        if (edge.kind == kReadWrite) continue;
        composed[a].push_back(edge);
        for (const Edge& second : edges_[edge.to]) {
          if (second.kind == kReadWrite) composed[a].push_back(second);
        }
      }
    }
    for (std::size_t a = 0; a < composed.size(); ++a) {
      for (const Edge& edge : composed[a]) {
        if (edge.to == a) {
          Describe({static_cast<std::uint32_t>(a)});
          break;
        }
      }
    }
    for (const auto& component : Components(composed)) Describe(component);
  }

  // Those with more than one member. Tarjan's algorithm, without recursion.
  static std::vector<std::vector<std::uint32_t>> Components(
      const std::vector<std::vector<Edge>>& edges) {
    constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();
    std::vector<std::uint32_t> index(edges.size(), kNone), low(edges.size(), 0);
    std::vector<bool> on_stack(edges.size(), false);
    std::vector<std::uint32_t> stack;
    std::vector<std::pair<std::uint32_t, std::size_t>> calls;
    std::vector<std::vector<std::uint32_t>> found;
    std::uint32_t next = 0;
    for (std::uint32_t root = 0; root < edges.size(); ++root) {
      if (index[root] != kNone) continue;
      calls.emplace_back(root, 0);
      while (!calls.empty()) {
        auto& [node, place] = calls.back();
        if (place == 0) {
          index[node] = low[node] = next++;
          stack.push_back(node);
          on_stack[node] = true;
        }
        if (place < edges[node].size()) {
          const std::uint32_t to = edges[node][place++].to;
          if (index[to] == kNone) {
            calls.emplace_back(to, 0);
          } else if (on_stack[to]) {
            low[node] = std::min(low[node], index[to]);
          }
          if (place != 0) continue;
        }
        const std::uint32_t done = node;
        if (low[done] == index[done]) {
          std::vector<std::uint32_t> component;
          while (true) {
            const std::uint32_t member = stack.back();
            stack.pop_back();
            on_stack[member] = false;
            component.push_back(member);
            if (member == done) break;
          }
          if (component.size() > 1) found.push_back(std::move(component));
        }
        calls.pop_back();
        if (!calls.empty()) {
          const std::uint32_t parent = calls.back().first;
          low[parent] = std::min(low[parent], low[done]);
        }
      }
    }
    return found;
  }

  // Names the least bad cycle... the one that says most: without anti-dependencies first.
  void Describe(const std::vector<std::uint32_t>& component) {
    constexpr Search kSearches[] = {
        {"G0 (write cycle)", false, false, 0},
        {"G1c (circular information flow)", true, false, 0},
        {"G1c-realtime (the past was not seen)", true, true, 0},
        {"G-single (read skew)", true, false, 1},
        {"G-single-realtime (stale read)", true, true, 1},
        {"G2 (anti-dependency cycle)", true, true, -1},
    };
    for (const Search& search : kSearches) {
      const std::vector<std::pair<std::uint32_t, Kind>> cycle = ShortestCycle(component, search);
      if (cycle.empty()) continue;
      constexpr const char* kNames[] = {"ww", "wr", "rt", "rw"};
      std::string text = absl::StrCat(search.name, ": ");
      for (const auto& [node, kind] : cycle)
        absl::StrAppend(&text, node, " -", kNames[kind], "-> ");
      Report(absl::StrCat(text, cycle.front().first));
      return;
    }
    Report(absl::StrCat("cycle among ", component.size(), " transactions"));
  }

  // Each node with the kind of the edge that leaves it; empty when there is none.
  std::vector<std::pair<std::uint32_t, Kind>> ShortestCycle(
      const std::vector<std::uint32_t>& component, const Search& search) const {
    // Breadth first from some of the members, with the number of anti-dependencies so far.
    constexpr std::size_t kRootsMax = 32;
    const std::uint32_t layers = search.read_writes_max == 1 ? 2 : 1;
    std::set<std::uint32_t> members(component.begin(), component.end());
    // Those of a composed graph leave out the ones in between.
    const bool any_member = model_ == ListModel::kSnapshotIsolation;
    std::vector<std::pair<std::uint32_t, Kind>> best;
    for (std::size_t r = 0; r < component.size() && r < kRootsMax; ++r) {
      const std::uint32_t root = component[r];
      struct Step {
        std::uint32_t from;
        Kind kind;
      };
      using State = std::pair<std::uint32_t, std::uint32_t>;  // node, anti-dependencies
      absl::flat_hash_map<State, std::pair<State, Kind>> came;
      std::vector<State> queue = {{root, 0}};
      for (std::size_t at = 0; at < queue.size(); ++at) {
        const State state = queue[at];
        bool closed = false;
        for (const Edge& edge : edges_[state.first]) {
          if (edge.kind == kWriteRead && !search.with_reads) continue;
          if (edge.kind == kRealTime && !search.with_time) continue;
          std::uint32_t used = state.second;
          if (edge.kind == kReadWrite) {
            if (search.read_writes_max == 0) continue;
            if (search.read_writes_max == 1 && ++used >= layers) continue;
          }
          if (!any_member && !members.contains(edge.to)) continue;
          if (edge.to == root) {
            std::vector<std::pair<std::uint32_t, Kind>> cycle = {{state.first, edge.kind}};
            for (State back = state; back != State(root, 0);) {
              const auto& [from, kind] = came.at(back);
              cycle.emplace_back(from.first, kind);
              back = from;
            }
            std::reverse(cycle.begin(), cycle.end());
            if (best.empty() || cycle.size() < best.size()) best = std::move(cycle);
            closed = true;
            break;
          }
          const State next(edge.to, used);
          if (came.contains(next)) continue;
          came.emplace(next, std::pair(state, edge.kind));
          queue.push_back(next);
        }
        if (closed || queue.size() > 100'000) break;
      }
      if (!best.empty() && best.size() <= 3) break;
    }
    return best;
  }

  const std::vector<ListTransaction>& history_;
  const ListModel model_;
  absl::flat_hash_map<Position, std::size_t> writers_;
  absl::flat_hash_map<std::int64_t, std::vector<std::int64_t>> orders_;
  absl::flat_hash_map<std::int64_t, std::int64_t> last_read_;
  std::vector<bool> committed_;
  std::vector<std::vector<Edge>> edges_;
  std::vector<std::string> anomalies_;
  ListVerdict verdict_;
};

inline ListVerdict CheckListAppend(const std::vector<ListTransaction>& history, ListModel model) {
  return ListChecker(history, model).Run();
}

}  // namespace alos::isolation

#endif  // ALOS_TESTING_ISOLATION_LIST_APPEND_H_
