// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Texts without what a search does not tell apart: upper and lower case, accents.

#ifndef ALOS_DOCUMENT_TEXT_FOLDING_H_
#define ALOS_DOCUMENT_TEXT_FOLDING_H_

#include <utf8proc.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>

namespace alos {

// What differences between two texts count.
struct TextFolding {
  bool case_sensitive = false;
  bool diacritic_sensitive = false;
};

// Appends `text` to *out in the form in which equal words are equal byte by byte: case folded and
// without accents, except where the folding is sensitive to them. Bytes that are not UTF-8 are
// kept.
//
// The result is that of each code point, one after the other: what is in a text is in the folded
// text, too, folded. Folding what was folded with more differences gives the same as folding at
// once. Case folding is Unicode's full one, into which the simple one leads: what a regular
// expression takes for equal without regard to case folds to the same.
//
// Threads: any. Errors: none. Cost: a few nanoseconds a byte of ASCII, up to 100 for another code
// point.
void FoldText(std::string_view text, TextFolding folding, std::string* out);

// ---- Readers of the API may stop here. ----

namespace document_internal {

// The code point at the beginning of `text`, which is not empty; its size in bytes in *size. Bytes
// that are not UTF-8 are taken one by one, as -1.
inline std::int32_t NextCodePoint(std::string_view text, std::size_t* size) {
  utf8proc_int32_t code_point = -1;
  const utf8proc_ssize_t taken = utf8proc_iterate(
      reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
      static_cast<utf8proc_ssize_t>(std::min<std::size_t>(text.size(), 4)), &code_point);
  *size = taken > 0 ? static_cast<std::size_t>(taken) : 1;
  return taken > 0 ? code_point : -1;
}

// The accents of Latin, Greek and Cyrillic; not the vowel signs of other scripts, nor the iota
// under a Greek letter, which is a letter in upper case.
inline bool IsDiacritic(std::int32_t code_point) {
  if (code_point == 0x0345) return false;
  return (code_point >= 0x0300 && code_point <= 0x036f) ||
         (code_point >= 0x1ab0 && code_point <= 0x1aff) ||
         (code_point >= 0x1dc0 && code_point <= 0x1dff) ||
         (code_point >= 0x20d0 && code_point <= 0x20ff) ||
         (code_point >= 0xfe20 && code_point <= 0xfe2f);
}

inline void AppendCodePoint(std::int32_t code_point, std::string* out) {
  utf8proc_uint8_t bytes[4];
  const utf8proc_ssize_t size = utf8proc_encode_char(code_point, bytes);
  out->append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
}

}  // namespace document_internal

inline void FoldText(std::string_view text, TextFolding folding, std::string* out) {
  if (folding.case_sensitive && folding.diacritic_sensitive) {
    out->append(text);
    return;
  }
  int options = 0;
  if (!folding.case_sensitive) options |= UTF8PROC_CASEFOLD;
  if (!folding.diacritic_sensitive) options |= UTF8PROC_DECOMPOSE;
  out->reserve(out->size() + text.size());
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t begin = i;
    while (i < text.size() && static_cast<unsigned char>(text[i]) < 0x80) ++i;
    if (i > begin) {
      out->append(text.substr(begin, i - begin));
      if (folding.case_sensitive) continue;
      for (std::size_t j = out->size() - (i - begin); j < out->size(); ++j) {
        char& c = (*out)[j];
        c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
      }
      continue;
    }
    std::size_t size = 0;
    const std::int32_t code_point = document_internal::NextCodePoint(text.substr(i), &size);
    utf8proc_int32_t folded[32];
    int boundary = 0;
    const utf8proc_ssize_t count =
        code_point < 0
            ? -1
            : utf8proc_decompose_char(code_point, folded, std::size(folded),
                                      static_cast<utf8proc_option_t>(options), &boundary);
    if (count < 0 || count > static_cast<utf8proc_ssize_t>(std::size(folded))) {
      out->append(text.substr(i, size));
    } else {
      for (utf8proc_ssize_t j = 0; j < count; ++j) {
        if (!folding.diacritic_sensitive && document_internal::IsDiacritic(folded[j])) continue;
        document_internal::AppendCodePoint(folded[j], out);
      }
    }
    i += size;
  }
}

}  // namespace alos

#endif  // ALOS_DOCUMENT_TEXT_FOLDING_H_
