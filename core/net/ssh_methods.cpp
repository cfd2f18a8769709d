#include "core/net/ssh_methods.hpp"

#include <algorithm>

#include "core/base/error.hpp"
#include "core/base/ssh_wire.hpp"
#include "core/base/text.hpp"

namespace ripcord {
namespace {

const std::vector<std::string> kHostKeys = {"ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"};
constexpr std::uint8_t kKexInit = 20;

bool common(std::string_view offered, const std::vector<std::string>& needed) {
  auto words = split(offered, ',');
  return std::any_of(needed.begin(), needed.end(),
                     [&](const auto& n) { return std::find(words.begin(), words.end(), n) != words.end(); });
}

// Position just behind the identification line; npos when there is none.
std::size_t after_identification(std::string_view greeting, std::string* line) {
  for (std::size_t at = 0; at < greeting.size();) {
    auto end = greeting.find('\n', at);
    auto text = greeting.substr(at, end == std::string_view::npos ? end : end - at);
    if (text.starts_with("SSH-")) {
      if (line) *line = trim(text);
      return end == std::string_view::npos ? greeting.size() : end + 1;
    }
    if (end == std::string_view::npos) break;
    at = end + 1;
  }
  return std::string_view::npos;
}

}  // namespace

std::vector<std::string> host_key_preference(const std::vector<std::string>& known_types) {
  std::vector<std::string> out;
  for (const auto& type : kHostKeys)
    if (std::find(known_types.begin(), known_types.end(), type) != known_types.end()) out.push_back(type);
  for (const auto& type : kHostKeys)
    if (std::find(out.begin(), out.end(), type) == out.end()) out.push_back(type);
  return out;
}

std::string server_identification(std::string_view greeting) {
  std::string line;
  after_identification(greeting, &line);
  return line;
}

std::optional<SshMismatch> find_mismatch(std::string_view greeting) {
  auto at = after_identification(greeting, nullptr);
  if (at == std::string_view::npos) return std::nullopt;
  try {
    SshReader packet(greeting.substr(at), "KEXINIT");
    packet.u32();
    packet.byte();
    if (packet.byte() != kKexInit) return std::nullopt;
    packet.take(16);
    auto kex = packet.string(), host_key = packet.string(), to_server = packet.string();
    packet.string();
    auto mac = packet.string();
    auto check = [](const char* what, const char* directive, std::string_view offered, std::vector<std::string> needed) {
      return common(offered, needed) ? std::nullopt
                                     : std::optional<SshMismatch>({what, directive, std::string(offered), join(needed, ",")});
    };
    if (auto m = check("key exchange", "KexAlgorithms", kex, split(kSshKex, ','))) return m;
    if (auto m = check("host key", "HostKey", host_key, kHostKeys)) return m;
    if (auto m = check("cipher", "Ciphers", to_server, split(kSshCiphers, ','))) return m;
    return check("MAC", "MACs", mac, split(kSshMacs, ','));
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace ripcord
