// Writes one release into a fresh staging folder: folders and links first, then files as their objects come (out of a pack, or
// copied from this host's releases), rendered files last. Every file is hashed while it is written: a pack's objects by
// PackReader, copies by copy_file. Nothing is ever hard-linked.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "manifests/host/beneath.hpp"
#include "manifests/host/local_objects.hpp"
#include "manifests/host/offer.hpp"
#include "manifests/shared/pack.hpp"

namespace ripcord {

class ReleaseWriter : public PackReader::Sink {
 public:
  // `prepared` outlives this. fsync_each: every file is fsynced while its descriptor is open, and finish() fsyncs the folders.
  ReleaseWriter(Beneath& staging, PreparedRelease& prepared, Owner owner, bool fsync_each);

  void make_folders_and_links();
  // Copies what is here; what turns out to be damaged while it is copied is distrusted and left lacking.
  void copy_local(LocalObjects& objects);
  std::vector<Digest> lacking() const;

  // PackReader::Sink. HostFailure bad_request for an object that nobody asked for.
  void begin(const Digest& digest, std::uint64_t size) override;
  void bytes(std::string_view part) override;
  void end() override;

  // Renders what is to be rendered, sets the folders' modes and owners. HostFailure missing_objects naming some.
  StatCache finish();

 private:
  struct Wanted {
    std::vector<std::size_t> entries;  // files with these bytes
    std::uint64_t size = 0;
    bool written = false, is_template = false;
  };
  Fd create(std::size_t entry);
  void close(std::size_t entry, Fd fd);                       // owner, mode, fsync, stat
  void copy_to_others(const Wanted& wanted, std::size_t done);
  void flush();
  void render_files();

  Beneath& staging_;
  PreparedRelease& prepared_;
  Owner owner_;
  bool chown_, fsync_each_;
  StatCache stat_;
  std::unordered_map<Digest, Wanted> wanted_;
  // the object that comes now
  Wanted* open_ = nullptr;
  Digest open_digest_;
  Fd file_;
  std::string buffer_;         // not yet written; small files take one write
  std::string template_;
};

}  // namespace ripcord
