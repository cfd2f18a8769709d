// known_hosts files (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"): which host keys are believed. Read line by line, so that one bad
// line does not lose the others; hashed names, [address]:port, wildcards and negation, @revoked. @cert-authority lines are
// noted and ignored: host certificates are not supported.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace ripcord {

struct KnownKey {
  std::string type, blob;   // blob: the key as on the wire
  std::string file;
  int line = 0;
  bool revoked = false;
};

class KnownHosts {
 public:
  // Reads the files in this order; one that does not exist is empty. Error when one cannot be read.
  static KnownHosts load(const std::vector<std::string>& files);
  void add_file(const std::string& name, std::string_view text);

  // Every line that speaks about this host. A port other than 22 is looked up as [host]:port; plain lines for the same
  // address count as well (as in ssh), but only after those.
  std::vector<const KnownKey*> find(std::string_view host, int port) const;

  const std::vector<std::string>& notes() const { return notes_; }  // "file:line: why this line was skipped"
  std::size_t size() const { return keys_.size(); }

 private:
  struct Pattern {          // of a line that is not one literal name
    std::vector<std::string> words;
    std::size_t key;
  };
  struct Hashed {
    std::string salt, hash;
    std::size_t key;
  };
  void add_line(const std::string& file, int number, std::string_view line);
  void collect(const std::string& name, std::vector<std::size_t>& found) const;

  std::vector<KnownKey> keys_;
  std::multimap<std::string, std::size_t, std::less<>> by_name_;
  std::vector<Pattern> patterns_;
  std::vector<Hashed> hashed_;
  std::vector<std::string> notes_;
};

enum class HostKeyVerdict { known, unknown, changed, revoked };
struct HostKeyJudgement {
  HostKeyVerdict verdict = HostKeyVerdict::unknown;
  const KnownKey* line = nullptr;   // the line that decided; unknown: a line of another type for this host, if there is one
};

// Compares by bytes. A revoked line wins over everything, whatever else is known.
HostKeyJudgement judge_host_key(const std::vector<const KnownKey*>& lines, std::string_view blob);

std::string known_hosts_name(std::string_view host, int port);  // "host" or "[host]:port"
std::string ssh_key_type(std::string_view blob);                // "" when it is not a key

}  // namespace ripcord
