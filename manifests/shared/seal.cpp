#include "manifests/shared/seal.hpp"

#include <fmt/format.h>

#include "core/base/error.hpp"
#include "core/base/ssh_wire.hpp"
#include "core/base/text.hpp"
#include "manifests/shared/allowed_signers.hpp"
#include "manifests/shared/sshsig.hpp"

namespace ripcord {
namespace {

constexpr std::size_t kMaxAllowedSigners = 4u << 20;

// Why a signer whose key fits does not count; empty when it does.
std::string objection(const AllowedSigner& signer, std::string_view name_space, std::int64_t now_s) {
  if (signer.authority) return "it is a certificate authority (cert-authority), which may not sign releases itself";
  if (signer.namespaces && !match_pattern_list(name_space, *signer.namespaces))
    return fmt::format("it may sign only for namespaces=\"{}\"", escape_terminal(*signer.namespaces));
  if (signer.valid_after && now_s < signer.valid_after) return "it is not valid yet (valid-after)";
  if (signer.valid_before && now_s > signer.valid_before) return "it is not valid any more (valid-before)";
  if (!signer.principal()) return "its line admits nobody";
  return {};
}

}  // namespace

SealVerdict verify_seal(std::string_view message, std::string_view armored_signature, std::string_view allowed_signers,
                        std::string_view name_space, WallTime now) {
  SealVerdict verdict;
  auto refused = [&](std::string why) {
    verdict.why = std::move(why);
    return verdict;
  };
  if (trim(armored_signature).empty()) return refused("the release is not signed");
  SshSignature signature;
  try {
    signature = parse_ssh_signature(armored_signature);
    verdict.fingerprint = ssh_fingerprint(signature.key);
    if (signature.name_space != name_space)
      return refused(fmt::format("the signature is for namespace '{}', not '{}'", escape_terminal(signature.name_space.substr(0, 100)), name_space));
    if (!verify_ssh_signature(signature, message))
      return refused("the signature does not belong to these bytes: they were changed, or it is another release's");
  } catch (const Error& e) {
    return refused(fmt::format("the signature cannot be used: {}", e.what()));
  }

  if (allowed_signers.size() > kMaxAllowedSigners) return refused(fmt::format("the list of allowed signers is larger than {}", format_size(kMaxAllowedSigners)));
  auto list = parse_allowed_signers(allowed_signers);
  std::string reason;
  for (const auto& signer : list.signers) {
    if (signer.key != signature.key) continue;
    auto no = objection(signer, name_space, now.ms / 1000);
    if (no.empty()) {
      verdict.trusted = true;
      verdict.principal = *signer.principal();
      return verdict;
    }
    reason = fmt::format("the key {} is on line {} of the allowed signers, but {}", verdict.fingerprint, signer.line, no);
  }
  if (reason.empty()) {
    reason = fmt::format("the key {} ({}) is not among the allowed signers", verdict.fingerprint, escape_terminal(signature.key_type));
    if (!list.bad_lines.empty())
      reason += fmt::format(" (line {} cannot be read{})", list.bad_lines[0], list.bad_lines.size() > 1 ? ", and others" : "");
  }
  return refused(std::move(reason));
}

}  // namespace ripcord
