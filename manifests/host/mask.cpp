#include "manifests/host/mask.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/error.hpp"
#include "core/base/files.hpp"
#include "core/base/text.hpp"

namespace ripcord {
namespace {

constexpr std::size_t kShortest = 6;

}  // namespace

Mask::Mask(const std::vector<std::string>& secret_files) {
  for (const auto& file : secret_files) {
    try {
      auto text = read_file_if_exists(file, 1u << 20);
      if (!text) continue;
      for (auto& line : split(*text, '\n')) {
        auto secret = trim(line);
        if (secret.size() >= kShortest) secrets_.emplace_back(secret);
      }
      std::fill(text->begin(), text->end(), '\0');
    } catch (const Error& e) {
      withheld_ = fmt::format("(output withheld: the secret file '{}' cannot be read, so it cannot be masked)", file);
    }
  }
  std::sort(secrets_.begin(), secrets_.end(), [](const auto& a, const auto& b) { return a.size() > b.size(); });
}

std::string Mask::operator()(std::string text, bool cut) const {
  if (text.empty()) return text;
  if (!withheld_.empty()) return withheld_;
  if (cut && !secrets_.empty()) {
    auto newline = text.find('\n');
    text.erase(0, newline == std::string::npos ? std::min(text.size(), secrets_.front().size()) : newline + 1);
  }
  for (const auto& secret : secrets_)
    for (auto at = text.find(secret); at != std::string::npos; at = text.find(secret, at + 3)) text.replace(at, secret.size(), "***");
  return text;
}

}  // namespace ripcord
