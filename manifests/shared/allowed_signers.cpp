#include "manifests/shared/allowed_signers.hpp"

#include <strings.h>
#include <time.h>

#include <algorithm>

#include "core/base/error.hpp"
#include "core/base/text.hpp"
#include "manifests/shared/sshsig.hpp"

// The grammar follows what ssh-keygen does rather than what its manual says, because the tests compare the two.
namespace ripcord {
namespace {

constexpr std::string_view kBlank = " \t", kWhite = " \t\r\n";

[[noreturn]] void bad(const char* why) { throw Error(why); }

void skip(std::string_view& text, std::string_view set) { text.remove_prefix(std::min(text.find_first_not_of(set), text.size())); }

std::string_view take_word(std::string_view& text, std::string_view until) {
  auto word = text.substr(0, text.find_first_of(until));
  text.remove_prefix(word.size());
  return word;
}

std::string take_principals(std::string_view& line) {
  std::string principals;
  if (line[0] == '"') {
    auto end = line.find('"', 1);
    if (end == std::string_view::npos) bad("a quote is not closed");
    principals = line.substr(1, end - 1);
    line.remove_prefix(end + 1);
  } else {
    principals = take_word(line, kWhite);
    if (principals.find('"') != std::string::npos) bad("a quote in the principals");
  }
  skip(line, kWhite);
  if (line.empty()) bad("nothing follows the principals");
  return principals;
}

// "<type> <base64>[ comment]"
std::optional<std::string> take_key(std::string_view text) {
  auto type = take_word(text, kBlank);
  skip(text, kBlank);
  if (type.empty() || text.empty()) return std::nullopt;
  try {
    std::string blob = decode_base64(take_word(text, kBlank));
    if (signing_key_type(blob) != type) return std::nullopt;
    return blob;
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::string_view take_options(std::string_view& text) {
  bool quoted = false;
  std::size_t i = 0;
  for (; i < text.size() && (quoted || kBlank.find(text[i]) == std::string_view::npos); ++i) {
    if (text[i] == '\\' && i + 1 < text.size() && text[i + 1] == '"') ++i;
    else if (text[i] == '"') quoted = !quoted;
  }
  if (quoted) bad("a quote is not closed");
  auto options = text.substr(0, i);
  text.remove_prefix(i);
  skip(text, kBlank);
  return options;
}

// YYYYMMDD[HHMM[SS]], with Z or UTC behind it in UTC, else in local time.
std::int64_t parse_time(std::string text) {
  bool utc = false;
  if (text.size() > 1 && strcasecmp(text.c_str() + text.size() - 1, "Z") == 0) utc = true, text.pop_back();
  else if (text.size() > 3 && strcasecmp(text.c_str() + text.size() - 3, "UTC") == 0) utc = true, text.resize(text.size() - 3);
  const char* format = text.size() == 8 ? "%Y%m%d" : text.size() == 12 ? "%Y%m%d%H%M" : text.size() == 14 ? "%Y%m%d%H%M%S" : nullptr;
  if (!format || text.find_first_not_of("0123456789") != std::string::npos) bad("a time is malformed");
  struct tm parts {};
  const char* end = ::strptime(text.c_str(), format, &parts);
  if (!end || *end) bad("a time is malformed");
  parts.tm_isdst = utc ? 0 : -1;
  auto seconds = static_cast<std::int64_t>(utc ? ::timegm(&parts) : ::mktime(&parts));
  if (seconds <= 0) bad("a time is out of range");
  return seconds;
}

bool take_name(std::string_view& text, std::string_view name) {
  if (text.size() < name.size() || ::strncasecmp(text.data(), name.data(), name.size()) != 0) return false;
  text.remove_prefix(name.size());
  return true;
}

std::string take_quoted(std::string_view& text) {
  if (text.empty() || text[0] != '"') bad("an option's value is not in quotes");
  std::string value;
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '"') {
      text.remove_prefix(i + 1);
      return value;
    }
    if (text[i] == '\\' && i + 1 < text.size() && text[i + 1] == '"') ++i;
    value.push_back(text[i]);
  }
  bad("a quote is not closed");
}

void parse_options(std::string_view options, AllowedSigner& signer) {
  while (!options.empty()) {
    if (take_name(options, "cert-authority")) {
      signer.authority = true;
    } else if (take_name(options, "namespaces=")) {
      if (signer.namespaces) bad("namespaces= twice");
      signer.namespaces = take_quoted(options);
    } else if (take_name(options, "valid-after=")) {
      if (signer.valid_after) bad("valid-after= twice");
      signer.valid_after = parse_time(take_quoted(options));
    } else if (take_name(options, "valid-before=")) {
      if (signer.valid_before) bad("valid-before= twice");
      signer.valid_before = parse_time(take_quoted(options));
    }
    if (options.empty()) break;
    if (options[0] != ',') bad("an unknown option");
    options.remove_prefix(1);
    if (options.empty()) bad("a comma without an option");
  }
  if (signer.valid_after && signer.valid_before && signer.valid_before <= signer.valid_after) bad("valid-before is not after valid-after");
}

AllowedSigner parse_line(std::string_view line, int number) {
  AllowedSigner signer;
  signer.line = number;
  signer.principals = take_principals(line);
  auto key = take_key(line);
  if (!key) {
    parse_options(take_options(line), signer);
    key = take_key(line);
    if (!key) bad("no key");
  }
  signer.key = std::move(*key);
  return signer;
}

}  // namespace

bool match_pattern_list(std::string_view text, std::string_view patterns) {
  bool matched = false;
  for (const auto& pattern : split(patterns, ',')) {
    bool negated = !pattern.empty() && pattern[0] == '!';
    if (!glob_match(std::string_view(pattern).substr(negated), text)) continue;
    if (negated) return false;
    matched = true;
  }
  return matched;
}

std::optional<std::string> AllowedSigner::principal() const {
  for (const auto& pattern : split(principals, ','))
    if (!pattern.empty() && pattern[0] != '!' && match_pattern_list(pattern, principals)) return pattern;
  return std::nullopt;
}

AllowedSigners parse_allowed_signers(std::string_view text) {
  AllowedSigners all;
  int number = 0;
  while (!text.empty()) {
    auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    ++number;
    line = line.substr(0, line.find('\0'));  // a C program sees no more of it
    skip(line, kWhite);
    if (line.empty() || line[0] == '#') continue;
    try {
      all.signers.push_back(parse_line(line, number));
    } catch (const Error&) {
      all.bad_lines.push_back(number);
    }
  }
  return all;
}

}  // namespace ripcord
