// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Chat messages in the shape of Discord's, as many as wanted, made up but always the same ones.

#ifndef ALOS_TESTING_DATASETS_CHAT_H_
#define ALOS_TESTING_DATASETS_CHAT_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "alos/document/builder.h"
#include "alos/document/value.h"

namespace alos::datasets {

struct ChatOptions {
  std::uint64_t seed = 1;
  // How many messages the log has: they spread over its 90 days. Below 2^32.
  std::uint64_t documents = 1'000'000;
  // Dates as text, "2025-01-31T12:00:00.123Z", instead of as MessagePack timestamps: for databases
  // that read JSON.
  bool text_times = false;
};

// Numbers that look random and depend on nothing but the seed (SplitMix64).
class Draw {
 public:
  explicit Draw(std::uint64_t seed) : state_(seed) {}

  static std::uint64_t Mix(std::uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
  }
  std::uint64_t Next() { return Mix(state_ += 0x9e3779b97f4a7c15U); }
  // REQUIRES: 0 < bound <= 2^32. In [0, bound).
  std::uint64_t Below(std::uint64_t bound) { return ((Next() >> 32) * bound) >> 32; }
  bool Chance(std::uint64_t per_mille) { return Below(1000) < per_mille; }

 private:
  std::uint64_t state_;
};

// Ranks from 0 with the weight 1 / (rank + 1 + flatness): Zipf's law, after Mandelbrot. Integers
// only, so that every machine draws the same.
//
// Threads: const, any number. Cost: O(1) a rank (Walker's aliases), 8 bytes of memory for each.
class ZipfTable {
 public:
  // REQUIRES: 0 < ranks < 2^20.
  ZipfTable(std::uint32_t ranks, std::uint32_t flatness) : flatness_(flatness), slots_(ranks) {
    std::vector<std::uint64_t> scaled(ranks);
    for (std::uint32_t rank = 0; rank < ranks; ++rank) total_ += Weight(rank);
    std::vector<std::uint32_t> small;
    std::vector<std::uint32_t> large;
    for (std::uint32_t rank = 0; rank < ranks; ++rank) {
      scaled[rank] = Weight(rank) * ranks;
      (scaled[rank] < total_ ? small : large).push_back(rank);
    }
    while (!small.empty() && !large.empty()) {
      const std::uint32_t low = small.back();
      const std::uint32_t high = large.back();
      small.pop_back();
      slots_[low] = {static_cast<std::uint32_t>((scaled[low] << kThresholdBits) / total_), high};
      scaled[high] -= total_ - scaled[low];
      if (scaled[high] < total_) {
        large.pop_back();
        small.push_back(high);
      }
    }
    for (const std::vector<std::uint32_t>& rest : {small, large}) {
      for (const std::uint32_t rank : rest) slots_[rank] = {1U << kThresholdBits, rank};
    }
  }

  std::uint32_t Rank(Draw& draw) const {
    const std::uint64_t random = draw.Next();
    const auto column = static_cast<std::uint32_t>(((random >> 32) * slots_.size()) >> 32);
    const Slot& slot = slots_[column];
    return (random & ((1U << kThresholdBits) - 1)) < slot.threshold ? column : slot.alias;
  }

  // How often `draws` draws give this rank, on average.
  double Expected(std::uint32_t rank, double draws) const {
    return draws * static_cast<double>(Weight(rank)) / static_cast<double>(total_);
  }

  std::uint32_t size() const { return static_cast<std::uint32_t>(slots_.size()); }

 private:
  static constexpr unsigned kThresholdBits = 20;

  struct Slot {
    std::uint32_t threshold = 0;
    std::uint32_t alias = 0;
  };

  std::uint64_t Weight(std::uint32_t rank) const {
    return (std::uint64_t{1} << 38) / (rank + 1 + flatness_);
  }

  const std::uint32_t flatness_;
  std::uint64_t total_ = 0;
  std::vector<Slot> slots_;
};

// The log: message n of it, what is in the message, and what the whole has in common.
//
// About 560 bytes a message, 19 to 25 keys at the top and up to 40 with those below:
//
//   _id, id           the same: a snowflake, time and number in 19 digits; nearly ascending
//   type, flags       small numbers, mostly 0
//   guild_id, channel_id   20,000 channels by Zipf's law, each in one of 2,000 guilds
//   author            {id, username, global_name, discriminator, avatar, bot}; 500,000 of them, by
//                     Zipf's law, and every channel has its regulars
//   content, length   text, and its bytes: words by Zipf's law out of 50,000, the rarest stands in
//                     some 400 of 16 million messages; mixed case, punctuation, links, emoji,
//                     Cyrillic, Japanese
//   timestamp, edited_timestamp   90 days from 2025-01-01 with days and nights; null unless edited
//   tts, pinned, mention_everyone   true is rare
//   mentions, mention_roles, attachments, embeds, components   arrays, mostly empty
//   reactions (8 %), nonce (12 %), message_reference (6 %), webhook_id (1 %), thread (0.3 %)
//                     missing where there are none
//
// Threads: const, any number. Lifetime: owns everything. Errors: none.
// Cost: the object takes 8 MB and some 50 ms to make; a message takes 1 to 2 microseconds, and is
//   made without those before it. AuthorOf, ChannelOf and TimeOf take some 20 nanoseconds each, so
//   that what matches a query can be counted over all messages.
class ChatLog {
 public:
  static constexpr std::uint32_t kAuthors = 500'000;
  static constexpr std::uint32_t kChannels = 20'000;
  static constexpr std::uint32_t kGuilds = 2'000;
  static constexpr std::uint32_t kWords = 50'000;
  static constexpr std::int64_t kDays = 90;
  static constexpr std::int64_t kFirstMillisecond = 1'735'689'600'000;  // 2025-01-01
  static constexpr std::int64_t kEndMillisecond = kFirstMillisecond + kDays * 86'400'000;

  explicit ChatLog(ChatOptions options = {});

  const ChatOptions& options() const { return options_; }
  std::uint64_t documents() const { return options_.documents; }

  // Appends message `number` (from 0) as one MessagePack document. Numbers at and past documents()
  // go on after the end of the log's 90 days.
  void Append(std::uint64_t number, std::string* out) const;

  // Of message `number`: milliseconds since 1970, snowflake, ranks of author and channel, text.
  std::int64_t TimeOf(std::uint64_t number) const;
  std::uint64_t IdOf(std::uint64_t number) const {
    return Snowflake(TimeOf(number), number & kSequenceMask);
  }
  std::uint32_t ChannelOf(std::uint64_t number) const {
    Draw draw = DrawFor(number, kWho);
    return channels_.Rank(draw);
  }
  std::uint32_t AuthorOf(std::uint64_t number) const {
    Draw draw = DrawFor(number, kWho);
    return AuthorIn(channels_.Rank(draw), draw);
  }
  std::string ContentOf(std::uint64_t number) const {
    std::string content;
    AppendContent(number, &content);
    return content;
  }

  // Of an author, by rank (0 writes most); of a channel, by rank.
  std::uint64_t AuthorId(std::uint32_t author) const { return EntityId(kAuthor, author); }
  std::string Username(std::uint32_t author) const;
  std::uint64_t ChannelId(std::uint32_t channel) const { return EntityId(kChannel, channel); }
  std::uint64_t GuildId(std::uint32_t channel) const {
    return EntityId(kGuild, guild_of_channel_[channel]);
  }

  // The words, the most frequent first, in lower case.
  std::string_view Word(std::uint32_t rank) const {
    return std::string_view(word_text_)
        .substr(word_begins_[rank], word_begins_[rank + 1] - word_begins_[rank]);
  }
  // In how many messages a rare word stands, on average; for frequent ones a little too many.
  double ExpectedMessagesWith(std::uint32_t word) const {
    return words_.Expected(word, static_cast<double>(documents()) * kWordsPerMessage);
  }

 private:
  // What a stream of random numbers is for: so that none depends on another.
  enum Stream : std::uint64_t {
    kWho = 1,
    kWhen,
    kWhat,
    kRest,
    kAuthor,
    kChannel,
    kGuild,
    kRegular
  };

  static constexpr std::int64_t kDiscordEpoch = 1'420'070'400'000;
  static constexpr std::uint64_t kSequenceMask = (1U << 22) - 1;
  static constexpr double kWordsPerMessage = 12.9;  // drawn ones; a test holds it to that
  static constexpr std::uint32_t kRegulars = 64;

  static std::uint64_t Snowflake(std::int64_t milliseconds, std::uint64_t sequence) {
    return (static_cast<std::uint64_t>(milliseconds - kDiscordEpoch) << 22) | sequence;
  }
  Draw DrawFor(std::uint64_t number, Stream stream) const {
    return Draw(Draw::Mix(seed_ + number * 0xd1342543de82ef95U) + (stream << 56));
  }
  // Of something that exists before the log begins.
  std::uint64_t EntityId(Stream stream, std::uint32_t rank) const {
    Draw draw = DrawFor(rank, stream);
    const std::int64_t age_ms = static_cast<std::int64_t>(draw.Below(3'000'000'000U)) * 97;
    return Snowflake(kFirstMillisecond - 1 - age_ms, rank);
  }
  std::uint32_t AuthorIn(std::uint32_t channel, Draw& draw) const {
    if (draw.Chance(400)) return authors_.Rank(draw);
    const std::uint64_t regular = std::uint64_t{channel} * kRegulars + regulars_.Rank(draw);
    return static_cast<std::uint32_t>(DrawFor(regular, kRegular).Below(kAuthors));
  }

  void MakeVocabulary();
  void MakeCalendar();
  void AppendContent(std::uint64_t number, std::string* content) const;
  void AppendWord(std::uint32_t rank, bool capital, bool shout, std::string* content) const;
  void AppendTime(std::int64_t milliseconds, Builder& builder) const;
  void AppendAuthor(std::uint32_t author, Builder& builder) const;
  void AppendAttachments(std::uint64_t channel_id, Draw& draw, std::int64_t milliseconds,
                         Builder& builder) const;
  void AppendEmbeds(Draw& draw, Builder& builder) const;
  static void AppendReactions(Draw& draw, Builder& builder);

  const ChatOptions options_;
  const std::uint64_t seed_;
  const ZipfTable words_{kWords, 2};
  const ZipfTable authors_{kAuthors, 40};
  const ZipfTable channels_{kChannels, 10};
  const ZipfTable regulars_{kRegulars, 2};
  std::vector<std::uint16_t> guild_of_channel_;
  std::string word_text_;
  std::vector<std::uint32_t> word_begins_;
  // How much was written before each hour of the log, with 32 fractional bits; one more at the end.
  std::vector<std::uint64_t> hour_begins_;
  std::uint64_t written_per_message_ = 0;
};

// --- Readers of the API may stop here. ----------------------------------------------------------

namespace datasets_internal {

// The head of the vocabulary. The rest is made of syllables.
inline constexpr std::string_view kFrequentWords[] = {
    "the",       "i",      "to",     "you",   "a",       "and",    "it",     "is",     "that",
    "in",        "of",     "so",     "for",   "lol",     "my",     "on",     "just",   "me",
    "like",      "but",    "be",     "have",  "this",    "not",    "was",    "with",   "what",
    "if",        "do",     "are",    "can",   "no",      "im",     "its",    "yeah",   "or",
    "at",        "we",     "your",   "get",   "he",      "how",    "they",   "all",    "as",
    "don't",     "one",    "know",   "up",    "there",   "out",    "good",   "now",    "about",
    "think",     "when",   "an",     "would", "from",    "time",   "why",    "oh",     "really",
    "see",       "some",   "too",    "game",  "more",    "people", "got",    "want",   "go",
    "well",      "yes",    "then",   "still", "only",    "here",   "make",   "ok",     "play",
    "because",   "thanks", "who",    "need",  "even",    "will",   "right",  "way",    "also",
    "u",         "has",    "them",   "back",  "any",     "had",    "does",   "server", "new",
    "work",      "than",   "could",  "never", "sure",    "much",   "where",  "gonna",  "pretty",
    "say",       "nice",   "use",    "going", "help",    "today",  "should", "lmao",   "did",
    "thing",     "always", "first",  "same",  "someone", "try",    "love",   "been",   "day",
    "actually",  "bro",    "things", "which", "guys",    "maybe",  "wait",   "him",    "over",
    "something", "she",    "though", "new",   "man",     "bot",    "look",   "feel",   "better",
    "anyone",    "please", "cool",   "point", "made",    "mean",   "other",  "after",  "stuff",
    "channel",   "link",   "update", "video", "music",   "best",   "next",   "last",   "level"};

inline constexpr std::string_view kOnsets[] = {
    "t",  "s",  "r",  "m",  "c",  "d",  "l",  "b",  "p",  "n",  "h",  "f",  "g",  "w",
    "v",  "st", "tr", "pr", "br", "cr", "ch", "sh", "gr", "pl", "k",  "cl", "th", "fl",
    "sp", "fr", "dr", "j",  "bl", "sl", "qu", "sw", "sc", "z",  "gl", "wh", "y",  "str"};
inline constexpr std::string_view kVowels[] = {"a",  "e",  "i",  "o", "u",  "ea", "o",
                                               "ai", "ou", "ee", "y", "oo", "ie", "au"};
inline constexpr std::string_view kCodas[] = {"",   "n",  "r",  "",   "t",  "s",  "l",  "nd", "ck",
                                              "m",  "st", "d",  "ng", "nt", "p",  "rt", "x",  "sh",
                                              "ll", "ss", "mp", "ft", "lt", "rk", "zz", "b",  "g"};
inline constexpr std::string_view kEndings[] = {"ing", "ed",   "er",  "s",    "ly",  "ion", "able",
                                                "y",   "ment", "est", "ness", "ish", "al",  "ive"};

inline constexpr std::string_view kCyrillic[] = {"привет", "как",    "дела",   "не",      "что",
                                                 "это",    "я",      "ты",     "сегодня", "спасибо",
                                                 "играть", "сервер", "сейчас", "ладно",   "завтра",
                                                 "хорошо", "почему", "может",  "очень",   "да"};
inline constexpr std::string_view kJapanese[] = {"こんにちは", "ありがとう", "今日", "ゲーム",
                                                 "サーバー",   "楽しい",     "です", "お願いします",
                                                 "明日",       "すごい",     "草",   "なるほど"};
inline constexpr std::string_view kAccented[] = {"café", "naïve",  "jalapeño", "über", "señor",
                                                 "déjà", "façade", "résumé",   "år",   "żółw"};
inline constexpr std::string_view kEmoji[] = {"👍", "😂", "❤️",  "🔥", "😭", "🎉", "🙏", "👀",
                                              "💀", "😎", "✅", "🤔", "💯", "🥺", "😅", "👋"};
inline constexpr std::string_view kDomains[] = {"youtube.example", "wiki.example", "clips.example",
                                                "github.example",  "news.example", "shop.example"};
struct FileKind {
  std::string_view extension;
  std::string_view content_type;
  bool is_image;
};
inline constexpr FileKind kFileKinds[] = {
    {"png", "image/png", true},        {"jpg", "image/jpeg", true}, {"png", "image/png", true},
    {"gif", "image/gif", true},        {"mp4", "video/mp4", false}, {"txt", "text/plain", false},
    {"zip", "application/zip", false}, {"webp", "image/webp", true}};

// Weights of the hours of a day (UTC) and the days of a week (the log begins on a Wednesday).
inline constexpr std::uint64_t kHours[] = {58, 49, 41, 33, 27, 24, 26, 31,  37, 43, 49, 55,
                                           60, 66, 71, 77, 84, 90, 96, 100, 99, 93, 82, 70};
inline constexpr std::uint64_t kWeekdays[] = {10, 10, 11, 13, 13, 10, 10};

template <std::size_t kSize>
std::string_view OneOf(const std::string_view (&list)[kSize], Draw& draw) {
  return list[draw.Below(kSize)];
}
// Prefers what stands first.
template <std::size_t kSize>
std::string_view EarlyOf(const std::string_view (&list)[kSize], Draw& draw) {
  const std::uint64_t first = draw.Below(kSize);
  return list[std::min(first, draw.Below(kSize))];
}

// The decimal digits of a number, without an allocation.
class Digits {
 public:
  explicit Digits(std::uint64_t number) {
    do {
      digits_[--begin_] = static_cast<char>('0' + number % 10);
      number /= 10;
    } while (number != 0);
  }
  std::string_view view() const {
    return std::string_view(digits_.data() + begin_, digits_.size() - begin_);
  }

 private:
  std::array<char, 20> digits_;
  std::size_t begin_ = 20;
};

inline void AppendHex(std::uint64_t number, std::string* out) {
  for (int shift = 60; shift >= 0; shift -= 4) *out += "0123456789abcdef"[(number >> shift) & 15];
}

}  // namespace datasets_internal

inline ChatLog::ChatLog(ChatOptions options)
    : options_(options), seed_(Draw::Mix(options.seed + 0x5851f42d4c957f2dU)) {
  MakeVocabulary();
  MakeCalendar();
  // A guild with a low rank has more channels, and any of them.
  const ZipfTable guilds(kGuilds, 20);
  guild_of_channel_.resize(kChannels);
  for (std::uint32_t channel = 0; channel < kChannels; ++channel) {
    Draw draw = DrawFor(channel, kGuild);
    guild_of_channel_[channel] = static_cast<std::uint16_t>(guilds.Rank(draw));
  }
}

// The same for every seed, so that queries can be written down.
inline void ChatLog::MakeVocabulary() {
  using namespace datasets_internal;           // NOLINT(google-build-using-namespace)
  constexpr std::uint32_t kShortWords = 3000;  // frequent words are short
  absl::flat_hash_set<std::string> seen;
  seen.reserve(kWords);
  word_begins_.reserve(kWords + 1);
  word_begins_.push_back(0);
  const auto add = [&](const std::string& word) {
    if (!seen.insert(word).second) return;
    word_text_ += word;
    word_begins_.push_back(static_cast<std::uint32_t>(word_text_.size()));
  };
  for (const std::string_view word : kFrequentWords) add(std::string(word));
  Draw draw(0x243f6a8885a308d3U);
  std::string word;
  while (word_begins_.size() <= kWords) {
    const bool is_short = word_begins_.size() < kShortWords;
    const std::uint64_t syllables = is_short ? 1 + draw.Below(2) : 2 + draw.Below(2);
    word.clear();
    for (std::uint64_t i = 0; i < syllables; ++i) {
      if (i != 0 || !draw.Chance(120)) word += EarlyOf(kOnsets, draw);
      word += EarlyOf(kVowels, draw);
      if (i + 1 == syllables || draw.Chance(400)) word += EarlyOf(kCodas, draw);
    }
    if (draw.Chance(is_short ? 100 : 350)) word += EarlyOf(kEndings, draw);
    if (word.size() >= 3 && word.size() <= 14) add(word);
  }
}

inline void ChatLog::MakeCalendar() {
  hour_begins_.reserve(kDays * 24 + 1);
  std::uint64_t written = 0;
  for (std::int64_t hour = 0; hour < kDays * 24; ++hour) {
    hour_begins_.push_back(written << 32);
    // Below 2^20 an hour: the whole is below 2^31, and below 2^63 with its fraction.
    const std::uint64_t today = datasets_internal::kHours[hour % 24];
    const std::uint64_t next = datasets_internal::kHours[(hour + 1) % 24];
    written += (today + next) * datasets_internal::kWeekdays[hour / 24 % 7] * 200;
  }
  hour_begins_.push_back(written << 32);
  written_per_message_ = (written << 32) / std::max<std::uint64_t>(1, options_.documents);
}

inline std::int64_t ChatLog::TimeOf(std::uint64_t number) const {
  constexpr std::int64_t kHourMs = 3'600'000;
  const std::uint64_t in_log = number % std::max<std::uint64_t>(1, options_.documents);
  const std::uint64_t written = in_log * written_per_message_ + written_per_message_ / 2;
  const auto next = std::upper_bound(hour_begins_.begin(), hour_begins_.end() - 1, written);
  const auto hour = static_cast<std::int64_t>(next - hour_begins_.begin()) - 1;
  const std::uint64_t begin = hour_begins_[static_cast<std::size_t>(hour)];
  const std::uint64_t per_ms = (*next - begin) / kHourMs;
  const auto in_hour = static_cast<std::int64_t>((written - begin) / per_ms);
  // Messages overtake each other by some seconds on their way into the log.
  const auto jitter = static_cast<std::int64_t>(DrawFor(number, kWhen).Below(4001)) - 2000;
  std::int64_t milliseconds =
      std::max<std::int64_t>(0, hour * kHourMs + std::min(in_hour, kHourMs - 1) + jitter);
  if (number != in_log) {  // past the end
    milliseconds += static_cast<std::int64_t>(number / options_.documents) * kDays * 86'400'000;
  }
  return kFirstMillisecond + milliseconds;
}

inline std::string ChatLog::Username(std::uint32_t author) const {
  Draw draw = DrawFor(author, kAuthor);
  draw.Next();  // the id's
  std::string name(Word(static_cast<std::uint32_t>(100 + draw.Below(8000))));
  if (draw.Chance(500)) {
    name += draw.Chance(500) ? "_" : ".";
    name += Word(static_cast<std::uint32_t>(100 + draw.Below(8000)));
  }
  name.erase(std::remove(name.begin(), name.end(), '\''), name.end());
  absl::StrAppend(&name, draw.Below(10000));
  return name;
}

inline void ChatLog::AppendTime(std::int64_t milliseconds, Builder& builder) const {
  if (options_.text_times) {
    builder.String(absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::FromUnixMillis(milliseconds),
                                    absl::UTCTimeZone()));
    return;
  }
  builder.Time({.seconds = milliseconds / 1000,
                .nanoseconds = static_cast<std::uint32_t>(milliseconds % 1000) * 1'000'000});
}

inline void ChatLog::AppendAuthor(std::uint32_t author, Builder& builder) const {
  constexpr std::uint32_t kBotRanks = 2000;
  Draw draw = DrawFor(author, kRest);
  draw.Next();  // not those of the message with this number
  const std::string username = Username(author);
  builder.StartDocument(6);
  builder.Key("id").String(datasets_internal::Digits(AuthorId(author)).view());
  builder.Key("username").String(username);
  builder.Key("global_name");
  if (draw.Chance(250)) {
    builder.Null();
  } else {
    std::string name = username.substr(0, username.find_first_of("_.0123456789"));
    if (!name.empty()) name[0] = absl::ascii_toupper(static_cast<unsigned char>(name[0]));
    if (draw.Chance(60))
      absl::StrAppend(&name, " ", datasets_internal::OneOf(datasets_internal::kEmoji, draw));
    builder.String(name);
  }
  builder.Key("discriminator");
  if (draw.Chance(900)) {
    builder.String("0");
  } else {
    builder.String(datasets_internal::Digits(1000 + draw.Below(9000)).view());
  }
  builder.Key("avatar");
  if (draw.Chance(300)) {
    builder.Null();
  } else {
    std::string avatar;
    datasets_internal::AppendHex(draw.Next(), &avatar);
    datasets_internal::AppendHex(draw.Next(), &avatar);
    builder.String(avatar);
  }
  builder.Key("bot").Bool(author < kBotRanks && draw.Chance(150));
  builder.EndDocument();
}

inline void ChatLog::AppendWord(std::uint32_t rank, bool capital, bool shout,
                                std::string* content) const {
  const std::size_t begin = content->size();
  content->append(Word(rank));
  if (shout) {
    for (std::size_t i = begin; i < content->size(); ++i) {
      (*content)[i] = absl::ascii_toupper(static_cast<unsigned char>((*content)[i]));
    }
  } else if (capital) {
    (*content)[begin] = absl::ascii_toupper(static_cast<unsigned char>((*content)[begin]));
  }
}

inline void ChatLog::AppendContent(std::uint64_t number, std::string* content) const {
  using namespace datasets_internal;  // NOLINT(google-build-using-namespace)
  Draw draw = DrawFor(number, kWhat);
  const std::uint64_t kind = draw.Below(1000);
  if (kind < 22) {  // in another script
    const bool is_cyrillic = kind < 12;
    const std::uint64_t words = 2 + draw.Below(9);
    for (std::uint64_t i = 0; i < words; ++i) {
      if (is_cyrillic && i != 0) *content += ' ';
      *content += is_cyrillic ? OneOf(kCyrillic, draw) : OneOf(kJapanese, draw);
    }
    return;
  }
  // Few words mostly, many now and then.
  std::uint64_t words = 1 + draw.Below(6);
  words += draw.Below(10);
  if (draw.Chance(180)) words += draw.Below(40);
  if (draw.Chance(12)) words += draw.Below(150);
  const bool shout = draw.Chance(20);
  bool capital = draw.Chance(450);  // the first word of a sentence
  const bool keeps_capitals = capital;
  if (draw.Chance(40)) {
    *content += "<@";
    *content += Digits(AuthorId(authors_.Rank(draw))).view();
    *content += '>';
    *content += ' ';
  }
  for (std::uint64_t i = 0; i < words; ++i) {
    if (i != 0) *content += ' ';
    // One draw decides about the word and what stands around it.
    const std::uint64_t around = draw.Below(2000);
    AppendWord(words_.Rank(draw), capital || around < 60, shout, content);
    capital = false;
    if (i + 1 == words) {
      // No punctuation before that of the end.
    } else if (around >= 1900) {
      *content += around < 1985 ? "," : (around < 1995 ? "..." : " -");
    } else if (around >= 1780) {
      *content += around < 1860 ? '.' : (around < 1880 ? '!' : '?');
      capital = keeps_capitals;
    } else if (around == 1779) {
      *content += ' ';
      *content += OneOf(kAccented, draw);
    } else if (around == 1778) {
      *content += " at ";
      *content += Digits(10 + draw.Below(14)).view();
      *content += ':';
      *content += Digits(10 + draw.Below(50)).view();
    }
  }
  const std::uint64_t end = draw.Below(1000);
  if (end < 250) {
    *content += end < 120 ? '.' : (end < 200 ? '?' : '!');
  } else if (end < 350) {
    *content += ' ';
    const std::string_view emoji = OneOf(kEmoji, draw);
    for (std::uint64_t i = 1 + (end & 3) / 2; i != 0; --i) *content += emoji;
  } else if (end < 385) {
    *content += " https://";
    *content += OneOf(kDomains, draw);
    *content += '/';
    AppendWord(words_.Rank(draw), false, false, content);
    *content += '-';
    AppendWord(words_.Rank(draw), false, false, content);
    if (draw.Chance(500)) {
      *content += "?v=";
      AppendHex(draw.Next(), content);
    }
  } else if (end < 400) {
    *content += " <:";
    *content += Word(static_cast<std::uint32_t>(draw.Below(2000)));
    *content += ':';
    *content += Digits(EntityId(kGuild, static_cast<std::uint32_t>(draw.Below(kGuilds)))).view();
    *content += '>';
  }
}

inline void ChatLog::AppendAttachments(std::uint64_t channel_id, Draw& draw,
                                       std::int64_t milliseconds, Builder& builder) const {
  using namespace datasets_internal;  // NOLINT(google-build-using-namespace)
  const std::uint64_t count = draw.Chance(60) ? 1 + draw.Below(10) / 8 : 0;
  builder.Key("attachments").StartArray(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    const FileKind& kind = kFileKinds[draw.Below(std::size(kFileKinds))];
    const std::uint64_t id = Snowflake(milliseconds - 1, draw.Below(kSequenceMask));
    std::string name(kind.is_image && draw.Chance(600)
                         ? std::string_view("image")
                         : Word(static_cast<std::uint32_t>(draw.Below(kWords))));
    absl::StrAppend(&name, ".", kind.extension);
    builder.StartDocument(kind.is_image ? 7 : 5);
    builder.Key("id").String(Digits(id).view());
    builder.Key("filename").String(name);
    const std::uint64_t magnitude = draw.Below(12);
    builder.Key("size").Uint((std::uint64_t{1024} << magnitude) + draw.Below(1024U << magnitude));
    builder.Key("content_type").String(kind.content_type);
    builder.Key("url").String(
        absl::StrCat("https://cdn.example/attachments/", channel_id, "/", id, "/", name));
    if (kind.is_image) {
      builder.Key("width").Uint(64 + draw.Below(3800));
      builder.Key("height").Uint(64 + draw.Below(2100));
    }
    builder.EndDocument();
  }
  builder.EndArray();
}

inline void ChatLog::AppendEmbeds(Draw& draw, Builder& builder) const {
  using namespace datasets_internal;  // NOLINT(google-build-using-namespace)
  const bool has_one = draw.Chance(30);
  builder.Key("embeds").StartArray(has_one ? 1 : 0);
  if (has_one) {
    std::string title;
    for (std::uint64_t i = 2 + draw.Below(5); i != 0; --i) {
      if (!title.empty()) title += ' ';
      AppendWord(words_.Rank(draw), true, false, &title);
    }
    const std::string_view domain = OneOf(kDomains, draw);
    builder.StartDocument(4);
    builder.Key("type").String(draw.Chance(400) ? "video" : "link");
    builder.Key("url").String(absl::StrCat("https://", domain, "/", draw.Below(1'000'000'000)));
    builder.Key("title").String(title);
    builder.Key("provider").StartDocument(1).Key("name").String(domain).EndDocument();
    builder.EndDocument();
  }
  builder.EndArray();
}

inline void ChatLog::AppendReactions(Draw& draw, Builder& builder) {
  std::uint64_t count = 1;
  if (draw.Chance(500)) ++count;
  if (draw.Chance(200)) ++count;
  const std::uint64_t first = draw.Below(std::size(datasets_internal::kEmoji));
  builder.Key("reactions").StartArray(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    builder.StartDocument(3);
    builder.Key("emoji").StartDocument(2);
    builder.Key("id").Null();
    builder.Key("name").String(
        datasets_internal::kEmoji[(first + i * 5) % std::size(datasets_internal::kEmoji)]);
    builder.EndDocument();
    builder.Key("count").Uint(1 + draw.Below(1 + draw.Below(30)));
    builder.Key("me").Bool(false);
    builder.EndDocument();
  }
  builder.EndArray();
}

inline void ChatLog::Append(std::uint64_t number, std::string* out) const {
  using datasets_internal::Digits;
  Draw who = DrawFor(number, kWho);
  const std::uint32_t channel = channels_.Rank(who);
  const std::uint32_t author = AuthorIn(channel, who);
  const std::int64_t time = TimeOf(number);
  const Digits id(Snowflake(time, number & kSequenceMask));
  const std::uint64_t channel_id = ChannelId(channel);
  const Digits channel_digits(channel_id);
  const Digits guild_digits(GuildId(channel));
  std::string content;
  AppendContent(number, &content);

  Draw draw = DrawFor(number, kRest);
  const bool is_reply = number != 0 && draw.Chance(60);
  const bool has_reactions = draw.Chance(80);
  const bool has_nonce = draw.Chance(120);
  const bool has_webhook = draw.Chance(10);
  const bool has_thread = draw.Chance(3);
  constexpr std::size_t kAlways = 19;
  Builder builder(out);
  builder.StartDocument(kAlways + (is_reply ? 1 : 0) + (has_reactions ? 1 : 0) +
                        (has_nonce ? 1 : 0) + (has_webhook ? 1 : 0) + (has_thread ? 1 : 0));
  builder.Key("_id").String(id.view());
  builder.Key("id").String(id.view());
  const std::uint64_t kind = draw.Below(1000);
  builder.Key("type").Int(is_reply ? 19
                                   : (kind < 970 ? 0 : (kind < 985 ? 7 : (kind < 995 ? 20 : 6))));
  builder.Key("guild_id").String(guild_digits.view());
  builder.Key("channel_id").String(channel_digits.view());
  builder.Key("author");
  AppendAuthor(author, builder);
  builder.Key("content").String(content);
  builder.Key("length").Uint(content.size());
  builder.Key("timestamp");
  AppendTime(time, builder);
  builder.Key("edited_timestamp");
  if (draw.Chance(40)) {
    AppendTime(time + 1000 + static_cast<std::int64_t>(draw.Below(600'000)), builder);
  } else {
    builder.Null();
  }
  const std::uint64_t flags = draw.Below(1000);
  builder.Key("flags").Int(
      flags < 960 ? 0 : (flags < 980 ? 4 : (flags < 990 ? 32 : (flags < 996 ? 64 : 4096))));
  builder.Key("tts").Bool(draw.Below(10'000) < 2);
  builder.Key("pinned").Bool(draw.Chance(1));
  builder.Key("mention_everyone").Bool(draw.Chance(3));

  std::uint64_t mentions = draw.Chance(120) ? 1 : 0;
  if (mentions != 0 && draw.Chance(250)) mentions += 1 + draw.Below(2);
  builder.Key("mentions").StartArray(mentions);
  for (std::uint64_t i = 0; i < mentions; ++i) {
    const std::uint32_t mentioned = AuthorIn(channel, draw);
    builder.StartDocument(2);
    builder.Key("id").String(Digits(AuthorId(mentioned)).view());
    builder.Key("username").String(Username(mentioned));
    builder.EndDocument();
  }
  builder.EndArray();
  const std::uint64_t roles = draw.Chance(10) ? 1 + draw.Below(2) : 0;
  builder.Key("mention_roles").StartArray(roles);
  for (std::uint64_t i = 0; i < roles; ++i) {
    const std::uint64_t role =
        std::uint64_t{guild_of_channel_[channel]} * 8 + i * 3 + draw.Below(3);
    builder.String(Digits(EntityId(kGuild, static_cast<std::uint32_t>(kGuilds + role))).view());
  }
  builder.EndArray();
  AppendAttachments(channel_id, draw, time, builder);
  AppendEmbeds(draw, builder);
  builder.Key("components").StartArray(0).EndArray();
  if (has_reactions) AppendReactions(draw, builder);
  if (has_nonce) {
    builder.Key("nonce").String(Digits(Snowflake(time - 150, draw.Below(kSequenceMask))).view());
  }
  if (is_reply) {
    const std::uint64_t earlier = number - 1 - draw.Below(std::min<std::uint64_t>(number, 5000));
    builder.Key("message_reference").StartDocument(3);
    builder.Key("message_id").String(Digits(IdOf(earlier)).view());
    builder.Key("channel_id").String(channel_digits.view());
    builder.Key("guild_id").String(guild_digits.view());
    builder.EndDocument();
  }
  if (has_webhook) {
    builder.Key("webhook_id").String(Digits(EntityId(kChannel, kChannels + channel)).view());
  }
  if (has_thread) {
    std::string name(Word(static_cast<std::uint32_t>(draw.Below(kWords))));
    builder.Key("thread").StartDocument(3);
    builder.Key("id").String(id.view());
    builder.Key("name").String(name);
    builder.Key("message_count").Uint(1 + draw.Below(200));
    builder.EndDocument();
  }
  builder.EndDocument();
}

}  // namespace alos::datasets

#endif  // ALOS_TESTING_DATASETS_CHAT_H_
