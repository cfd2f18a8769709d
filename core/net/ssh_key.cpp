#include "core/net/ssh_key.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "core/base/error.hpp"
#include "core/base/files.hpp"
#include "core/base/ssh_wire.hpp"
#include "core/base/text.hpp"
#include "core/net/known_hosts.hpp"
#include "core/net/link.hpp"
#include "core/net/ssh_crypto.hpp"

namespace ripcord {
namespace {

constexpr std::string_view kBegin = "-----BEGIN OPENSSH PRIVATE KEY-----", kEnd = "-----END OPENSSH PRIVATE KEY-----";
constexpr std::string_view kMagic{"openssh-key-v1\0", 15};
constexpr std::uint64_t kFileLimit = 64 * 1024;

class FileKey : public SshKey {
 public:
  FileKey(CryptoKey key, std::string blob, std::string source) : SshKey(std::move(blob), std::move(source)), key_(std::move(key)) {}
  Task<std::string> sign(std::string data, Elapsed) override { co_return key_.sign(data); }

 private:
  CryptoKey key_;
};

// Holds secret bytes for as long as they are needed.
struct Secret {
  std::string bytes;
  ~Secret() { wipe(bytes); }
};

CryptoKey read_private_part(SshReader& reader) {
  auto type = reader.string();
  if (type == "ssh-ed25519") {
    auto point = reader.string(), both = reader.string();
    if (both.size() != 64) throw Error("its private part has the wrong length");
    if (both.substr(32) != point) throw Error("its private and public half do not belong together");
    return CryptoKey::ed25519(both.substr(0, 32));
  }
  if (type.starts_with("ecdsa-sha2-")) {
    auto curve = reader.string(), point = reader.string(), secret = reader.string();
    return CryptoKey::ecdsa(curve, point, secret);
  }
  if (type == "ssh-rsa") {
    auto n = reader.string(), e = reader.string(), d = reader.string(), iqmp = reader.string(), p = reader.string(), q = reader.string();
    return CryptoKey::rsa(n, e, d, p, q, iqmp);
  }
  throw Error(fmt::format("keys of type '{}' are not supported", escape_terminal(type.substr(0, 60))));
}

// PROTOCOL.key in OpenSSH's sources.
SshKeyFile parse_container(std::string_view bytes, const std::string& source) {
  SshReader reader(bytes, "the key file");
  if (reader.take(kMagic.size()) != kMagic) throw Error("it is not an OpenSSH private key");
  auto cipher = reader.string(), kdf = reader.string();
  reader.string();
  if (reader.u32() != 1) throw Error("it holds several keys");
  SshKeyFile out;
  out.public_blob = reader.string();
  if (cipher != "none" || kdf != "none") return out;
  auto section = reader.string();
  if (!reader.done()) throw Error("bytes follow the key");
  SshReader inner(section, "the key file");
  if (inner.u32() != inner.u32()) throw Error("its check numbers differ: the file is damaged");
  CryptoKey key = read_private_part(inner);
  inner.string();  // comment
  for (std::uint8_t expected = 1; !inner.done(); ++expected)
    if (inner.byte() != expected) throw Error("its padding is wrong: the file is damaged");
  if (key.public_blob() != out.public_blob) throw Error("its private and public half do not belong together");
  out.key = std::make_shared<FileKey>(std::move(key), out.public_blob, source);
  return out;
}

}  // namespace

SshKey::SshKey(std::string blob, std::string source)
    : type_(ssh_key_type(blob)), blob_(std::move(blob)), source_(std::move(source)), offered_(blob_) {
  if (type_ != "ssh-rsa") return;
  offered_.clear();
  put_string(offered_, "rsa-sha2-256");
  offered_.append(blob_, 4 + type_.size());
}

SshKeyFile parse_ssh_key(std::string_view text, const std::string& source) {
  text = trim(text);
  if (text.starts_with(kBegin)) {
    if (!text.ends_with(kEnd)) throw Error("its last line is missing");
    Secret encoded, bytes;
    for (char c : text.substr(kBegin.size(), text.size() - kBegin.size() - kEnd.size()))
      if (c != '\n' && c != '\r') encoded.bytes.push_back(c);
    auto decoded = unbase64(encoded.bytes);
    if (!decoded) throw Error("its base64 is damaged");
    bytes.bytes = std::move(*decoded);
    return parse_container(bytes.bytes, source);
  }
  if (auto blob = parse_public_key_line(text)) {  // IdentityFile may name the public half of a key that the agent holds
    SshKeyFile out;
    out.public_blob = *blob;
    return out;
  }
  try {
    CryptoKey key = CryptoKey::pem(text);
    SshKeyFile out;
    out.public_blob = key.public_blob();
    out.key = std::make_shared<FileKey>(std::move(key), out.public_blob, source);
    return out;
  } catch (const Error& e) {
    if (e.message() == "encrypted") return {};
    throw;
  }
}

SshKeyFile read_ssh_key_file(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) throw os_error("read the key", path, errno);
  Secret text;
  text.bytes = read_file(path, kFileLimit);
  SshKeyFile out;
  try {
    out = parse_ssh_key(text.bytes, path);
  } catch (const Error& e) {
    throw Error(fmt::format("cannot use the key '{}': {}", path, e.message()), e.hint());
  }
  if (out.key && st.st_uid == ::geteuid() && (st.st_mode & 077) != 0)  // as ssh does: the key may have been read already
    throw Error(fmt::format("cannot use the key '{}': its mode {:04o} lets others read it", path, st.st_mode & 07777),
                fmt::format("chmod 600 {}", shell_quote(path)));
  if (!out.public_blob.empty()) return out;
  if (auto line = read_file_if_exists(path + ".pub", kFileLimit))
    if (auto blob = parse_public_key_line(*line)) out.public_blob = *blob;
  return out;
}

std::optional<std::string> parse_public_key_line(std::string_view line) {
  line = trim(line);
  auto words = split(std::string(line.substr(0, line.find('\n'))), ' ');
  if (words.size() < 2) return std::nullopt;
  auto blob = unbase64(trim(words[1]));
  if (!blob || ssh_key_type(*blob) != words[0]) return std::nullopt;
  return blob;
}

}  // namespace ripcord
