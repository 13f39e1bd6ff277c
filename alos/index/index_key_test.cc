// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/index/index_key.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/escaping.h"
#include "alos/document/builder.h"
#include "alos/document/compare.h"
#include "alos/document/value.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <class Add>
std::string Encoded(Add add) {
  std::string bytes;
  Builder builder(&bytes);
  add(&builder);
  return bytes;
}

std::string Key(const std::string& value) {
  std::string key;
  AppendIndexKey(ValueView::FromTrusted(value), &key);
  return key;
}

std::string Component(const std::string& value) {
  std::string key;
  AppendIndexKeyComponent(ValueView::FromTrusted(value), &key);
  return key;
}

int Sign(std::weak_ordering order) { return order < 0 ? -1 : order > 0 ? 1 : 0; }
int Sign(int order) { return order < 0 ? -1 : order > 0 ? 1 : 0; }

// Scalars of all types that are easily mistaken for each other.
class RandomScalars {
 public:
  explicit RandomScalars(std::uint64_t seed) : engine_(seed) {}

  std::uint64_t Pick(std::uint64_t count) { return engine_() % count; }

  std::string Bytes(std::size_t size_max) {
    static constexpr char kBytes[] = {'\0', '\1', 'a', 'b', '\x7f', '\x80', '\xfe', '\xff'};
    std::string bytes(Pick(size_max + 1), '\0');
    for (char& byte : bytes) byte = kBytes[Pick(std::size(kBytes))];
    return bytes;
  }

  double Double() {
    static constexpr double kSpecial[] = {0.0,
                                          -0.0,
                                          1.0,
                                          -1.0,
                                          0.5,
                                          5e-324,
                                          -5e-324,
                                          2.2250738585072014e-308,
                                          1.7976931348623157e308,
                                          -1.7976931348623157e308,
                                          kInfinity,
                                          -kInfinity,
                                          9007199254740991.0,
                                          9007199254740992.0,
                                          9007199254740994.0,
                                          -9007199254740992.0,
                                          9223372036854774784.0,
                                          9223372036854775808.0,
                                          -9223372036854775808.0,
                                          18446744073709549568.0,
                                          18446744073709551616.0,
                                          36893488147419103232.0};
    switch (Pick(4)) {
      case 0:
        return std::nan("");
      case 1: {
        const std::uint64_t bits = engine_();
        double number;
        std::memcpy(&number, &bits, sizeof(number));
        return number;
      }
      case 2:
        return std::nextafter(kSpecial[Pick(std::size(kSpecial))], Pick(2) == 0 ? 1e308 : -1e308);
      default:
        return kSpecial[Pick(std::size(kSpecial))];
    }
  }

  std::uint64_t Integer() {
    const std::uint64_t power = std::uint64_t{1} << Pick(64);
    return Pick(4) == 0 ? engine_() : power + Pick(5) - 2;
  }

  std::string Scalar() {
    return Encoded([&](Builder* builder) {
      switch (Pick(9)) {
        case 0:
          builder->Null();
          break;
        case 1:
          builder->Bool(Pick(2) == 0);
          break;
        case 2:
          builder->Int(static_cast<std::int64_t>(Integer() * (Pick(2) == 0 ? 1 : -1)));
          break;
        case 3:
          builder->Uint(Integer());
          break;
        case 4:
          builder->Double(Double());
          break;
        case 5:
          builder->String(Bytes(5));
          break;
        case 6:
          builder->Binary(Bytes(4));
          break;
        case 7:
          builder->Time({static_cast<std::int64_t>(Integer()),
                         static_cast<std::uint32_t>(Pick(2) == 0 ? Pick(3) : 999'999'999)});
          break;
        default: {
          static constexpr std::int8_t kTypes[] = {-128, -2, 0, 1, 127};
          builder->Extension(kTypes[Pick(std::size(kTypes))], Bytes(4));
        }
      }
    });
  }

 private:
  std::mt19937_64 engine_;
};

TEST(IndexKey, KeysOrderAsValuesDo) {
  RandomScalars random(1);
  std::vector<std::string> values;
  for (int i = 0; i < 1500; ++i) values.push_back(random.Scalar());
  std::vector<std::string> keys;
  for (const std::string& value : values) keys.push_back(Key(value));
  for (std::size_t i = 0; i < values.size(); ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      ASSERT_EQ(Sign(keys[i].compare(keys[j])),
                Sign(Compare(ValueView::FromTrusted(values[i]), ValueView::FromTrusted(values[j]))))
          << absl::BytesToHexString(values[i]) << " and " << absl::BytesToHexString(values[j]);
    }
  }
}

// Two components: the first that differs decides, whatever follows it.
TEST(IndexKey, TuplesOfComponentsOrderAsTuples) {
  RandomScalars random(2);
  struct Tuple {
    std::vector<std::optional<std::string>> values;
    std::string key;
  };
  std::vector<Tuple> tuples(1500);
  for (Tuple& tuple : tuples) {
    for (int i = 0; i < 2; ++i) {
      if (random.Pick(8) == 0) {
        tuple.values.push_back(std::nullopt);
        AppendIndexKeyComponent(std::nullopt, &tuple.key);
      } else {
        tuple.values.push_back(random.Scalar());
        tuple.key += Component(*tuple.values.back());
      }
    }
  }
  for (const Tuple& a : tuples) {
    for (const Tuple& b : tuples) {
      int order = 0;
      for (std::size_t i = 0; i < 2 && order == 0; ++i) {
        if (!a.values[i].has_value() || !b.values[i].has_value()) {
          order =
              static_cast<int>(a.values[i].has_value()) - static_cast<int>(b.values[i].has_value());
        } else {
          order = Sign(
              Compare(ValueView::FromTrusted(*a.values[i]), ValueView::FromTrusted(*b.values[i])));
        }
      }
      ASSERT_EQ(Sign(a.key.compare(b.key)), order)
          << absl::BytesToHexString(a.key) << " and " << absl::BytesToHexString(b.key);
    }
  }
}

TEST(IndexKey, KeysComeBackAsValues) {
  RandomScalars random(3);
  for (int i = 0; i < 20000; ++i) {
    const std::string value = random.Scalar();
    const ValueView view = ValueView::FromTrusted(value);
    std::string decoded;
    Builder builder(&decoded);
    ASSERT_TRUE(DecodeIndexKey(Key(value), true, &builder)) << absl::BytesToHexString(value);
    ASSERT_TRUE(ValueView::Parse(decoded).ok()) << absl::BytesToHexString(decoded);
    ASSERT_TRUE(Equal(ValueView::FromTrusted(decoded), view)) << absl::BytesToHexString(value);
    if (view.type() == ValueType::kInt64 || view.type() == ValueType::kUint64) {
      ASSERT_EQ(decoded, value);
    }
    if (view.IsNumber() && !(view.type() == ValueType::kDouble && std::isnan(view.AsDouble()))) {
      ASSERT_EQ(IndexKeyNumber(Key(value)), view.AsDouble());
    }

    decoded.clear();
    ASSERT_TRUE(DecodeIndexKey(Key(value), false, &builder));
    ASSERT_TRUE(Equal(ValueView::FromTrusted(decoded), view));
    if (view.type() == ValueType::kDouble) {
      ASSERT_EQ(ValueView::FromTrusted(decoded).type(), ValueType::kDouble);
    }

    std::string tuple = Component(value);
    const std::size_t size = tuple.size();
    tuple += Component(random.Scalar());
    std::string_view rest = tuple;
    const std::optional<std::string_view> component = TakeIndexKeyComponent(&rest);
    ASSERT_TRUE(component.has_value());
    ASSERT_EQ(component->size(), size);
    decoded.clear();
    ASSERT_TRUE(DecodeIndexKeyComponent(*component, true, &builder));
    ASSERT_TRUE(Equal(ValueView::FromTrusted(decoded), view)) << absl::BytesToHexString(value);
    ASSERT_TRUE(TakeIndexKeyComponent(&rest).has_value());
    ASSERT_TRUE(rest.empty());
    ASSERT_FALSE(TakeIndexKeyComponent(&rest).has_value());
  }
}

// Keys from a damaged file.
TEST(IndexKey, AnyBytesCanBeDecoded) {
  RandomScalars random(4);
  for (int i = 0; i < 50000; ++i) {
    std::string key = random.Pick(2) == 0 ? Key(random.Scalar()) : Component(random.Scalar());
    if (random.Pick(2) == 0) key.resize(random.Pick(key.size() + 1));
    if (!key.empty()) key[random.Pick(key.size())] = static_cast<char>(random.Pick(256));
    key += random.Bytes(3);
    std::string decoded;
    Builder builder(&decoded);
    for (const bool as_int : {true, false}) {
      decoded.clear();
      if (DecodeIndexKey(key, as_int, &builder)) {
        ASSERT_TRUE(ValueView::Parse(decoded).ok()) << absl::BytesToHexString(key);
      } else {
        ASSERT_TRUE(decoded.empty());
      }
      decoded.clear();
      if (DecodeIndexKeyComponent(key, as_int, &builder)) {
        ASSERT_TRUE(ValueView::Parse(decoded).ok()) << absl::BytesToHexString(key);
      }
    }
    IndexKeyNumber(key);
    std::string_view rest = key;
    while (TakeIndexKeyComponent(&rest).has_value()) {
    }
  }
}

TEST(IndexKey, HasTheBytesOfTheFormat) {
  const auto hex = [](auto add) { return absl::BytesToHexString(Key(Encoded(add))); };
  EXPECT_EQ(hex([](Builder* b) { b->Null(); }), "03");
  EXPECT_EQ(hex([](Builder* b) { b->Int(5); }), "04c014000000000000");
  EXPECT_EQ(hex([](Builder* b) { b->Double(5); }), "04c014000000000000");
  EXPECT_EQ(hex([](Builder* b) { b->Double(-0.0); }), "048000000000000000");
  EXPECT_EQ(hex([](Builder* b) { b->Int(-1); }), "04400fffffffffffff");
  EXPECT_EQ(hex([](Builder* b) { b->Double(std::nan("")); }), "040000000000000000");
  EXPECT_EQ(hex([](Builder* b) { b->Int((1LL << 53) + 1); }), "04c3400000000000000001");
  EXPECT_EQ(hex([](Builder* b) { b->Uint(UINT64_MAX); }), "04c3efffffffffffff07ff");
  EXPECT_EQ(hex([](Builder* b) { b->Double(1e300); }), "04fe37e43c8800759c0000");
  EXPECT_EQ(hex([](Builder* b) { b->String("ab"); }), "056162");
  EXPECT_EQ(hex([](Builder* b) { b->StartDocument(0).EndDocument(); }), "06");
  EXPECT_EQ(hex([](Builder* b) { b->StartArray(0).EndArray(); }), "07");
  EXPECT_EQ(hex([](Builder* b) { b->Binary("ab"); }), "08000000026162");
  EXPECT_EQ(hex([](Builder* b) { b->Bool(true); }), "0901");
  EXPECT_EQ(hex([](Builder* b) { b->Time({-1, 2}); }), "0a7fffffffffffffff00000002");
  EXPECT_EQ(hex([](Builder* b) { b->Extension(5, "x"); }), "0b8578");

  std::string tuple = Component(Encoded([](Builder* b) { b->String({"a\0b", 3}); }));
  AppendIndexKeyComponent(std::nullopt, &tuple);
  AppendIndexKeyNothing(&tuple);
  EXPECT_EQ(absl::BytesToHexString(tuple), "056100ff62000201");
}

TEST(IndexKey, LongValuesAreCutAndSaySo) {
  const auto text = [](std::size_t size) {
    return Encoded([size](Builder* builder) { builder->String(std::string(size, 'x')); });
  };
  for (const std::size_t size : {2046, 2047, 2048, 5000}) {
    const std::string value = text(size);
    std::string key;
    EXPECT_EQ(AppendIndexKey(ValueView::FromTrusted(value), &key), size == 2046);
    EXPECT_EQ(IsCutIndexKey(key), size > 2046);
    EXPECT_EQ(key.size(), std::min<std::size_t>(size + 1, kIndexKeyBytesMax));
    std::string decoded;
    Builder builder(&decoded);
    EXPECT_EQ(DecodeIndexKey(key, true, &builder), size == 2046);
    std::string component;
    EXPECT_EQ(AppendIndexKeyComponent(ValueView::FromTrusted(value), &component), size == 2046);
    decoded.clear();
    EXPECT_EQ(DecodeIndexKeyComponent(component, true, &builder), size == 2046);
    std::string_view rest = component;
    EXPECT_EQ(TakeIndexKeyComponent(&rest), component);
  }
  for (const std::size_t size : {2042, 2043, 70000}) {
    for (const bool extension : {false, true}) {
      const std::size_t kept_max = extension ? 2046 : 2043;
      const std::string value = Encoded([&](Builder* builder) {
        if (extension) {
          builder->Extension(1, std::string(size, '\0'));
        } else {
          builder->Binary(std::string(size, '\0'));
        }
      });
      std::string key;
      EXPECT_EQ(AppendIndexKey(ValueView::FromTrusted(value), &key), size < kept_max);
      EXPECT_EQ(IsCutIndexKey(key), size >= kept_max);
      EXPECT_LE(key.size(), kIndexKeyBytesMax);
      std::string tuple;
      EXPECT_EQ(AppendIndexKeyComponent(ValueView::FromTrusted(value), &tuple), size < kept_max);
      std::string_view rest = tuple;
      EXPECT_EQ(TakeIndexKeyComponent(&rest), tuple);
      std::string decoded;
      Builder builder(&decoded);
      EXPECT_EQ(DecodeIndexKeyComponent(tuple, true, &builder), size < kept_max);
    }
  }
}

TEST(IndexKey, RangesOfClassesAndPrefixes) {
  RandomScalars random(5);
  for (int i = 0; i < 2000; ++i) {
    const std::string value = random.Scalar();
    const std::string key = Key(value);
    const KeyClass key_class = KeyClassOf(ValueView::FromTrusted(value).type());
    EXPECT_EQ(IndexKeyClass(key), key_class);
    EXPECT_LE(FirstKeyOfClass(key_class), key);
    EXPECT_LT(key, EndKeyOfClass(key_class));
    const std::string prefix = key.substr(0, 1 + random.Pick(key.size()));
    EXPECT_LT(key, IndexKeyPrefixEnd(prefix));
    EXPECT_LT(key + "\xff\xff", IndexKeyPrefixEnd(prefix));
    EXPECT_FALSE(IndexKeyPrefixEnd(prefix).starts_with(prefix));
  }
  EXPECT_EQ(IndexKeyPrefixEnd("\5a\xff"), "\5b");
  EXPECT_EQ(IndexKeyPrefixEnd("\xff\xff"), "");
  const std::string nan = Key(Encoded([](Builder* b) { b->Double(-std::nan("7")); }));
  const std::string lowest = Key(Encoded([](Builder* b) { b->Double(-kInfinity); }));
  EXPECT_LT(nan, FirstIndexKeyAfterNan());
  EXPECT_LT(FirstIndexKeyAfterNan(), lowest);
}

}  // namespace
}  // namespace alos
