#include <fmt/format.h>

#include "core/base/error.hpp"
#include "core/base/process.hpp"
#include "core/base/text.hpp"
#include "manifests/release_store.hpp"

namespace ripcord {

// The bytes go in on standard input and the signature comes back on standard output, so nothing is left on disk. ssh-keygen finds
// the agent through SSH_AUTH_SOCK, which it inherits.
std::string sign_with_ssh_keygen(const std::string& key_path, const std::string& bytes) {
  constexpr std::string_view kBegin = "-----BEGIN SSH SIGNATURE-----", kEnd = "-----END SSH SIGNATURE-----\n";
  constexpr Millis kDeadline{60000};  // a hardware key in the agent waits for a touch
  Command command;
  command.argv = {"ssh-keygen", "-Y", "sign", "-n", std::string(kSealNamespace), "-f", key_path};
  command.input = bytes;
  auto result = run_process(command, kDeadline, 64 << 10);
  auto begin = result.output.find(kBegin), end = result.output.rfind(kEnd);
  if (!result.ok() || begin == std::string::npos || end == std::string::npos || end < begin)
    throw Error(fmt::format("cannot sign with '{}': ssh-keygen {}: {}", escape_terminal(key_path), result.text(),
                            escape_terminal(trim(result.output).substr(0, 2000))),
                fmt::format("try it by hand: ssh-keygen -Y sign -n {} -f {} FILE; a key with a passphrase must be in ssh-agent (ssh-add)",
                            kSealNamespace, shell_quote(key_path)));
  return result.output.substr(begin, end + kEnd.size() - begin);
}

}  // namespace ripcord
