// Packs made from the store: compressed once, sent to many. A pack lives in an unlinked file that every sender maps, so a 200 MiB
// release costs memory once, and the page cache may give it back.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <map>

#include "core/base/error.hpp"
#include "core/base/files.hpp"
#include "manifests/shared/pack.hpp"
#include "plans/hosts/pack_source.hpp"

namespace ripcord {
namespace {

struct Mapping {
  void* at = nullptr;
  std::size_t size = 0;
  ~Mapping() {
    if (at) ::munmap(at, size);
  }
};

class StorePacks : public PackSource {
 public:
  explicit StorePacks(const ReleaseStore& store) : store_(store) {}

  Task<Pack> pack(std::vector<Digest> objects) override {
    auto& known = made_[objects];
    if (!known.owner) known = make(objects);
    co_return known;
  }

 private:
  Pack make(const std::vector<Digest>& objects) {
    Fd fd(::memfd_create("ripcord-pack", MFD_CLOEXEC));
    if (!fd) throw os_error("create", "a pack in memory", errno);
    PackWriter writer;
    std::size_t written = 0;
    auto drain = [&](const std::string& bytes) {
      write_all(fd.get(), bytes, "a pack in memory");
      written += bytes.size();
    };
    std::string buffer(1u << 20, '\0');
    for (const auto& digest : objects) {
      auto path = store_.object_path(digest);
      Fd in = open_file(path, O_RDONLY);
      auto size = ::lseek(in.get(), 0, SEEK_END);
      if (size < 0 || ::lseek(in.get(), 0, SEEK_SET) < 0) throw os_error("seek in", path, errno);
      writer.begin_object(digest, static_cast<std::uint64_t>(size));
      for (std::uint64_t left = static_cast<std::uint64_t>(size); left > 0;) {
        ssize_t n = ::read(in.get(), buffer.data(), std::min<std::uint64_t>(left, buffer.size()));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) throw n < 0 ? os_error("read", path, errno) : Error("object '" + path + "' became shorter while it was read");
        writer.object_bytes({buffer.data(), static_cast<std::size_t>(n)});
        left -= static_cast<std::uint64_t>(n);
        drain(writer.take());
      }
    }
    drain(writer.finish());
    auto mapping = std::make_shared<Mapping>();
    mapping->size = written;
    mapping->at = written ? ::mmap(nullptr, written, PROT_READ, MAP_SHARED, fd.get(), 0) : nullptr;
    if (mapping->at == MAP_FAILED) {
      mapping->at = nullptr;
      throw os_error("map", "a pack in memory", errno);
    }
    return {{static_cast<const char*>(mapping->at), written}, mapping};
  }

  const ReleaseStore& store_;
  std::map<std::vector<Digest>, Pack> made_;
};

}  // namespace

std::unique_ptr<PackSource> store_packs(const ReleaseStore& store) { return std::make_unique<StorePacks>(store); }

}  // namespace ripcord
