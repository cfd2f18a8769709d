// A release in one file (docs/release.md): magic line, manifest and signature with their lengths, the SHA-256 of those two, one
// pack with all objects.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <map>

#include "core/base/error.hpp"
#include "core/base/files.hpp"
#include "core/base/text.hpp"
#include "manifests/object_batch.hpp"
#include "manifests/release_store.hpp"
#include "manifests/shared/pack.hpp"
#include "manifests/source_tree.hpp"

namespace ripcord {
namespace {

constexpr std::string_view kMagic = "ripcord-release 1\n";
constexpr std::size_t kMaxSignature = 64 << 10;

std::string length_prefix(std::uint64_t n) {
  std::string out;
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>(n >> shift & 0xff));
  return out;
}

std::string read_exactly(int fd, std::size_t size, const std::string& path) {
  std::string out(size, '\0');
  for (std::size_t have = 0; have < size;) {
    ssize_t n = ::read(fd, out.data() + have, size - have);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw os_error("read", path, errno);
    if (n == 0) throw Error("it ends too early", {}, Exit::integrity);
    have += static_cast<std::size_t>(n);
  }
  return out;
}

std::string read_prefixed(int fd, std::size_t limit, const std::string& path) {
  std::uint64_t size = 0;
  for (char c : read_exactly(fd, 8, path)) size = size << 8 | static_cast<unsigned char>(c);
  if (size > limit) throw Error(fmt::format("it has a part of {} bytes, allowed are {}", size, limit), {}, Exit::integrity);
  return read_exactly(fd, static_cast<std::size_t>(size), path);
}

// Damage on the way must not read as another release. It proves nothing against people: that is what the signature is for.
std::string checksum(const SealedManifest& sealed) {
  Sha256 hash;
  hash.update(sealed.bytes);
  hash.update(sealed.signature);
  auto digest = hash.finish();
  return {reinterpret_cast<const char*>(digest.bytes.data()), digest.bytes.size()};
}

std::map<Digest, std::uint64_t> objects_of(const Manifest& manifest) {
  std::map<Digest, std::uint64_t> objects;
  for (const auto& e : manifest.entries)
    if (e.kind == SourceEntry::Kind::file) objects.emplace(e.digest, e.size);
  return objects;
}

// Takes exactly the objects of the manifest, each once; those that the store has are verified and dropped.
struct ImportSink : PackReader::Sink {
  ImportSink(const ReleaseStore& s, ObjectBatch& b, std::map<Digest, std::uint64_t> w) : store(s), batch(b), wanted(std::move(w)) {}
  const ReleaseStore& store;
  ObjectBatch& batch;
  std::map<Digest, std::uint64_t> wanted;
  Digest open;
  bool keep = false;

  void begin(const Digest& digest, std::uint64_t size) override {
    auto found = wanted.find(digest);
    if (found == wanted.end() || found->second != size) throw Error(fmt::format("it holds an object that its manifest does not name: {}", digest.hex()), {}, Exit::integrity);
    wanted.erase(found);
    open = digest;
    keep = !store.has_object(digest);
    if (keep) batch.begin();
  }
  void bytes(std::string_view part) override {
    if (keep) batch.write(part);
  }
  void end() override {
    if (keep) batch.end(open);
  }
};

void export_to(const ReleaseStore& store, const Digest& digest, int out, const std::string& path) {
  auto sealed = store.sealed(digest);
  std::string head(kMagic);
  for (const auto* part : {&sealed.bytes, &sealed.signature}) head += length_prefix(part->size()) + *part;
  write_all(out, head + checksum(sealed), path);
  PackWriter pack;
  for (const auto& [object, size] : objects_of(Manifest::decode(sealed.bytes))) {
    Fd fd = open_file(store.object_path(object), O_RDONLY);
    Sha256 hash;
    pack.begin_object(object, size);
    for_each_block(fd.get(), store.object_path(object), [&](std::string_view part) {
      hash.update(part);
      pack.object_bytes(part);
      if (auto made = pack.take(); !made.empty()) write_all(out, made, path);
    });
    if (hash.finish() != object)
      throw Error(fmt::format("'{}' is damaged: its bytes have another digest", store.object_path(object)), "remove it and seal the unit again",
                  Exit::integrity);
  }
  write_all(out, pack.finish(), path);
}

}  // namespace

void ReleaseStore::export_file(const Digest& manifest, const std::string& path) const {
  std::string temporary = path + "." + random_hex(8) + ".part";
  Fd out = open_file(temporary, O_WRONLY | O_CREAT | O_EXCL, 0644);
  try {
    export_to(*this, manifest, out.get(), temporary);
    fsync_fd(out.get(), temporary);
    if (::rename(temporary.c_str(), path.c_str()) != 0) throw os_error("rename into place", path, errno);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  fsync_dir(parent_dir(path));
}

Digest ReleaseStore::import_file(const std::string& path) {
  Fd in = open_file(path, O_RDONLY);
  try {
    if (read_exactly(in.get(), kMagic.size(), path) != kMagic) throw Error("it does not begin with 'ripcord-release 1'");
    SealedManifest sealed;
    sealed.bytes = read_prefixed(in.get(), kMaxManifest, path);
    sealed.signature = read_prefixed(in.get(), kMaxSignature, path);
    if (read_exactly(in.get(), 32, path) != checksum(sealed)) throw Error("it is damaged: its manifest or signature is not what was written", {}, Exit::integrity);
    ObjectBatch batch(folder_);
    ImportSink sink(*this, batch, objects_of(Manifest::decode(sealed.bytes)));
    PackReader pack(sink);
    for_each_block(in.get(), path, [&](std::string_view part) { pack.feed(part); });
    pack.finish();
    if (!sink.wanted.empty()) throw Error(fmt::format("{} of its objects are missing", sink.wanted.size()), {}, Exit::integrity);
    batch.commit();
    add_sealed(sealed);
    return sealed.digest();
  } catch (const Error& e) {
    if (e.exit() != Exit::error && e.exit() != Exit::integrity) throw;
    throw Error(fmt::format("cannot import '{}': {}", escape_terminal(path), e.what()),
                e.hint().empty() ? "nothing was added; make the file again with ripcord seal -o FILE" : e.hint(), e.exit());
  }
}

bool ReleaseStore::is_release_file(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  std::string start(kMagic.size(), '\0');
  return fd && ::read(fd.get(), start.data(), start.size()) == static_cast<ssize_t>(start.size()) && start == kMagic;
}

}  // namespace ripcord
