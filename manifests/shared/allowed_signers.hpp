// allowed_signers files (ssh-keygen(1), ALLOWED SIGNERS): who may sign, with which key, for what and when.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ripcord {

struct AllowedSigner {
  int line = 0;
  std::string principals;                 // comma list of patterns: '*', '?', '!' in front negates
  std::string key;                        // public key blob
  bool authority = false;                 // cert-authority: never matches a plain key
  std::optional<std::string> namespaces;  // pattern list
  std::int64_t valid_after = 0, valid_before = 0;  // seconds since 1970; 0: no limit

  // Somebody whom the list of principals admits by the pattern's own text, as `ssh-keygen -Y find-principals` would name;
  // nullopt when everybody is negated.
  std::optional<std::string> principal() const;
};

struct AllowedSigners {
  std::vector<AllowedSigner> signers;
  std::vector<int> bad_lines;  // could not be read; the others count all the same, as for ssh-keygen
};
AllowedSigners parse_allowed_signers(std::string_view text);

// OpenSSH's pattern list: true when a pattern matches and no negated one does.
bool match_pattern_list(std::string_view text, std::string_view patterns);

}  // namespace ripcord
