#include "core/net/known_hosts.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>

#include "core/base/digest.hpp"
#include "core/base/error.hpp"
#include "core/base/files.hpp"
#include "core/base/ssh_wire.hpp"
#include "core/base/text.hpp"

namespace ripcord {
namespace {

constexpr std::size_t kSha1 = 20, kBlock = 64;

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

// HMAC-SHA1 (RFC 2104) on the plain digest: a look-up in a file of hashed names computes one for every line of it, and
// OpenSSL's own HMAC spends most of its time in fetching algorithms.
std::string hmac_sha1(std::string_view key, std::string_view message) {
  static EVP_MD* const sha1 = EVP_MD_fetch(nullptr, "SHA1", nullptr);
  static EVP_MD_CTX* const context = EVP_MD_CTX_new();  // the event loop is one thread
  std::array<unsigned char, kBlock> pad{};
  std::array<unsigned char, kSha1> inner{}, outer{};
  std::copy_n(key.begin(), std::min(key.size(), kBlock), pad.begin());  // salts are 20 bytes
  for (auto& b : pad) b ^= 0x36;
  EVP_DigestInit_ex(context, sha1, nullptr);
  EVP_DigestUpdate(context, pad.data(), pad.size());
  EVP_DigestUpdate(context, message.data(), message.size());
  EVP_DigestFinal_ex(context, inner.data(), nullptr);
  for (auto& b : pad) b ^= 0x36 ^ 0x5c;
  EVP_DigestInit_ex(context, sha1, nullptr);
  EVP_DigestUpdate(context, pad.data(), pad.size());
  EVP_DigestUpdate(context, inner.data(), inner.size());
  EVP_DigestFinal_ex(context, outer.data(), nullptr);
  return {reinterpret_cast<char*>(outer.data()), outer.size()};
}

std::string_view next_word(std::string_view& rest) {
  auto begin = rest.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return rest = {};
  rest.remove_prefix(begin);
  auto word = rest.substr(0, rest.find_first_of(" \t"));
  rest.remove_prefix(word.size());
  return word;
}

// One negated match silences the line, whatever else matches (sshd(8)).
bool words_match(const std::vector<std::string>& words, const std::string& name) {
  bool matched = false;
  for (std::string_view word : words) {
    bool negated = word.starts_with('!');
    if (!glob_match(negated ? word.substr(1) : word, name)) continue;
    if (negated) return false;
    matched = true;
  }
  return matched;
}

}  // namespace

std::string known_hosts_name(std::string_view host, int port) {
  return port == 22 || port == 0 ? std::string(host) : fmt::format("[{}]:{}", host, port);
}

std::string ssh_key_type(std::string_view blob) {
  try {
    SshReader reader(blob, "key");
    return std::string(reader.string());
  } catch (const Error&) {
    return {};
  }
}

KnownHosts KnownHosts::load(const std::vector<std::string>& files) {
  KnownHosts hosts;
  for (const auto& file : files)
    if (auto text = read_file_if_exists(file)) hosts.add_file(file, *text);
  return hosts;
}

void KnownHosts::add_file(const std::string& name, std::string_view text) {
  int number = 0;
  while (!text.empty()) {
    auto end = std::min(text.find('\n'), text.size());
    add_line(name, ++number, trim(text.substr(0, end)));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

void KnownHosts::add_line(const std::string& file, int number, std::string_view line) {
  if (line.empty() || line.front() == '#') return;
  auto skip = [&](std::string_view why) { notes_.push_back(fmt::format("{}:{}: {}", file, number, why)); };
  KnownKey key;
  key.file = file;
  key.line = number;
  auto names = next_word(line);
  if (names.starts_with('@')) {
    if (names == "@cert-authority") return skip("@cert-authority is not supported, the line is ignored");
    if (names != "@revoked") return skip("the marker is neither @revoked nor @cert-authority, the line is ignored");
    key.revoked = true;
    names = next_word(line);
  }
  key.type = next_word(line);
  auto blob = unbase64(next_word(line));
  if (!blob || blob->empty()) return skip("there is no base64 key in the third column, the line is ignored");
  if (ssh_key_type(*blob) != key.type) return skip("the key is of another type than the line says, the line is ignored");
  key.blob = std::move(*blob);

  std::size_t index = keys_.size();
  if (names.starts_with("|1|")) {
    auto bar = names.find('|', 3);
    auto salt = unbase64(names.substr(3, bar == std::string_view::npos ? 0 : bar - 3));
    auto hash = bar == std::string_view::npos ? std::nullopt : unbase64(names.substr(bar + 1));
    if (!salt || !hash || salt->size() != kSha1 || hash->size() != kSha1) return skip("the hashed name is damaged, the line is ignored");
    hashed_.push_back({*salt, *hash, index});
  } else {
    auto words = split(lower(names), ',');
    bool literal = std::none_of(words.begin(), words.end(),
                                [](const std::string& w) { return w.find_first_of("*?!") != std::string::npos; });
    if (literal) for (const auto& w : words) by_name_.emplace(w, index);
    else patterns_.push_back({std::move(words), index});
  }
  keys_.push_back(std::move(key));
}

void KnownHosts::collect(const std::string& name, std::vector<std::size_t>& found) const {
  auto [begin, end] = by_name_.equal_range(name);
  for (auto it = begin; it != end; ++it) found.push_back(it->second);
  for (const auto& p : patterns_)
    if (words_match(p.words, name)) found.push_back(p.key);
  for (const auto& h : hashed_)
    if (hmac_sha1(h.salt, name) == h.hash) found.push_back(h.key);
}

std::vector<const KnownKey*> KnownHosts::find(std::string_view host, int port) const {
  std::string plain = lower(host), with_port = known_hosts_name(plain, port);
  std::vector<std::size_t> found;
  collect(with_port, found);
  std::sort(found.begin(), found.end());
  if (with_port != plain) {
    std::vector<std::size_t> second;
    collect(plain, second);
    std::sort(second.begin(), second.end());
    found.insert(found.end(), second.begin(), second.end());
  }
  std::vector<const KnownKey*> keys;
  for (auto i : found)
    if (std::find(keys.begin(), keys.end(), &keys_[i]) == keys.end()) keys.push_back(&keys_[i]);
  return keys;
}

HostKeyJudgement judge_host_key(const std::vector<const KnownKey*>& lines, std::string_view blob) {
  HostKeyJudgement out;
  auto type = ssh_key_type(blob);
  for (const auto* k : lines)
    if (k->revoked && k->blob == blob) return {HostKeyVerdict::revoked, k};
  for (const auto* k : lines)
    if (!k->revoked && k->blob == blob) return {HostKeyVerdict::known, k};
  for (const auto* k : lines) {
    if (k->revoked) continue;
    if (k->type == type) return {HostKeyVerdict::changed, k};
    if (!out.line) out.line = k;
  }
  return out;
}

}  // namespace ripcord
