#include "core/net/link_local.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "core/base/files.hpp"
#include "core/base/text.hpp"
#include "core/net/bootstrap.hpp"
#include "core/net/child.hpp"

namespace ripcord {
namespace {

constexpr std::size_t kErrorTail = 4096, kChunk = 64 * 1024;
constexpr Millis kWriteStall{30000}, kStart{15000};

LinkError closed(const std::string& who, const std::string& doing) {
  return LinkError(LinkFault::unreachable, "closed", fmt::format("the program of '{}' ended while {}", who, doing),
                   "what it did last is unknown until the host is asked again");
}

// One running child and its two descriptors. Shared with the task that keeps reading its standard error.
struct Pipe {
  Pipe(Loop& l, Clock& c, std::string w, Fd s, Fd e)
      : loop(l), clock(c), who(std::move(w)), socket(std::move(s)), errors(std::move(e)), watch(loop, socket.get()), error_watch(loop, errors.get()) {}
  Loop& loop;
  Clock& clock;
  std::string who;
  Fd socket, errors;
  ManualClock never{WallTime{}};  // the reader of standard error has no deadline
  FdWatch watch, error_watch;     // after the descriptors: go first
  std::unique_ptr<Child> child;
  std::string error_tail;
  bool shut = false;

  void close() {
    if (shut) return;
    shut = true;
    ::shutdown(socket.get(), SHUT_RDWR);
    watch.cancel();
    error_watch.cancel();
  }
  bool read_errors() {  // false: the program closed its standard error
    char bytes[kErrorTail];
    while (true) {
      ssize_t n = ::read(errors.get(), bytes, sizeof bytes);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return n < 0 && errno == EAGAIN;
      error_tail.append(bytes, static_cast<std::size_t>(n));
      if (error_tail.size() > kErrorTail) error_tail.erase(0, error_tail.size() - kErrorTail);
    }
  }
};

// A full pipe would stop the program, so somebody reads it always.
Task<> keep_reading_errors(std::shared_ptr<Pipe> pipe) {
  const Elapsed never{INT64_MAX};
  while (!pipe->shut && pipe->read_errors()) co_await pipe->error_watch.wait(true, false, pipe->never, never);
}

class LocalChannel : public Channel {
 public:
  explicit LocalChannel(std::shared_ptr<Pipe> pipe) : pipe_(std::move(pipe)) {}
  ~LocalChannel() override { pipe_->close(); }

  Task<> write(std::string bytes) override {
    auto pipe = pipe_;
    std::size_t at = 0;
    while (at < bytes.size()) {
      if (pipe->shut) throw closed(pipe->who, "sending: it was closed here");
      ssize_t n = ::send(pipe->socket.get(), bytes.data() + at, std::min(bytes.size() - at, kChunk), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno != EAGAIN) throw closed(pipe->who, "it was sent data");
      if (n > 0) at += static_cast<std::size_t>(n);
      if (at == bytes.size()) break;
      bool ready = co_await pipe->watch.wait(false, true, pipe->clock, pipe->clock.elapsed() + kWriteStall);
      if (!ready && !pipe->shut)
        throw LinkError(LinkFault::unreachable, "silent", fmt::format("the program of '{}' takes no more bytes", pipe->who));
    }
  }

  Task<std::string> read(Elapsed deadline) override {
    auto pipe = pipe_;
    if (!first_.empty() && !pipe->shut) co_return std::exchange(first_, {});
    std::string bytes = co_await receive(pipe, deadline);
    co_return bytes;
  }

  static Task<std::string> receive(std::shared_ptr<Pipe> pipe, Elapsed deadline) {
    std::string bytes(kChunk, '\0');
    while (true) {
      if (pipe->shut) throw closed(pipe->who, "reading: it was closed here");
      ssize_t n = ::recv(pipe->socket.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
      if (n < 0 && errno == EINTR) continue;
      if (n >= 0 || errno == ECONNRESET) {  // reset: it ended with input unread
        bytes.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
        if (n <= 0) pipe->read_errors();
        co_return bytes;
      }
      if (errno != EAGAIN) throw closed(pipe->who, "reading: " + errno_text(errno));
      bool ready = co_await pipe->watch.wait(true, false, pipe->clock, deadline);
      if (!ready && !pipe->shut)
        throw LinkError(LinkFault::unreachable, "silent", fmt::format("nothing came from the program of '{}' in time", pipe->who));
    }
  }

  void put_back(std::string bytes) { first_ = std::move(bytes); }
  void close() override { pipe_->close(); }
  std::string error_tail() const override { return pipe_->error_tail; }

 private:
  std::shared_ptr<Pipe> pipe_;
  std::string first_;
};

LinkError cannot_start(const HostAddress& host, const std::string& path, int error) {
  const char* name = error == EACCES ? "noexec" : error == ENOEXEC ? "wrong_arch" : error == ENOSPC ? "no_space" : error == EROFS ? "read_only" : "push_failed";
  return LinkError(LinkFault::host, name, fmt::format("cannot start the program of '{}' ({}): {}", host.name, path, errno_text(error)),
                   error == EACCES ? "is the folder on a file system mounted noexec?" : "");
}

void remove_folder(const std::string& path) {  // of ours, one level deep
  ::unlink((path + "/ripcord-host").c_str());
  ::rmdir(path.c_str());
}

class LocalLink : public Link {
 public:
  LocalLink(Loop& loop, Clock& clock, Program program) : loop_(loop), clock_(clock), image_(std::move(program)) {}

  Task<std::unique_ptr<Channel>> open(HostAddress host, std::string first) override {
    std::string root = absolute_path(host.folder);
    std::string program = push(host, root);
    auto pipe = start(host, program, root);
    Preamble preamble;
    auto channel = std::make_unique<LocalChannel>(pipe);
    Elapsed deadline = clock_.elapsed() + kStart;
    try {
      co_await channel->write(preamble.greeting() + first);
    } catch (const LinkError&) {  // it ended already: what it printed says why
    }
    while (true) {
      std::string bytes = co_await LocalChannel::receive(pipe, deadline);
      if (preamble.feed(bytes)) break;
      if (bytes.empty() || preamble.too_noisy())
        throw LinkError(LinkFault::host, "push_failed",
                        fmt::format("the program of '{}' ended before it answered; it printed: {}", host.name,
                                    escape_terminal(trim(pipe->error_tail + preamble.seen().substr(0, 400)))),
                        fmt::format("try: {} serve --root {}", shell_quote(program), shell_quote(root)));
    }
    channel->put_back(preamble.rest());
    std::unique_ptr<Channel> opened = std::move(channel);
    co_return opened;
  }

 private:
  // Complete or not there: written into a folder of its own, made durable, then renamed.
  std::string push(const HostAddress& host, const std::string& root) {
    std::string helpers = root + "/var/lib/ripcord/helper", folder = helpers + "/" + image_.digest().hex(), path = folder + "/ripcord-host";
    struct stat st {};
    if (::stat(path.c_str(), &st) == 0) return path;
    std::string temporary = folder + ".tmp-" + random_hex(4);
    try {
      const auto& bytes = image_.bytes();
      make_dirs(root, 0755);  // the host's root is not a secret, our state in it is
      make_dirs(helpers);
      if (::mkdir(temporary.c_str(), 0700) != 0) throw os_error("create folder", temporary, errno);
      write_file_durable(temporary + "/ripcord-host", bytes, 0700);
      if (::rename(temporary.c_str(), folder.c_str()) != 0 && errno != ENOTEMPTY && errno != EEXIST)  // another one was quicker
        throw os_error("rename into place", folder, errno);
      remove_folder(temporary);
      fsync_dir(helpers);
    } catch (const LinkError&) {
      throw;
    } catch (const Error& e) {
      remove_folder(temporary);
      bool full = e.message().find("ENOSPC") != std::string::npos, read_only = e.message().find("EROFS") != std::string::npos;
      throw LinkError(LinkFault::host, full ? "no_space" : read_only ? "read_only" : "push_failed",
                      fmt::format("cannot put the program on '{}': {}", host.name, e.message()), "nothing was changed on it");
    }
    return path;
  }

  std::shared_ptr<Pipe> start(const HostAddress& host, const std::string& program, const std::string& root) {
    int ends[2], errors[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) throw os_error("create", "a socket pair", errno);
    Fd ours(ends[0]), theirs(ends[1]);
    if (::pipe2(errors, O_CLOEXEC) != 0) throw os_error("create", "a pipe", errno);
    Fd read_end(errors[0]), write_end(errors[1]);
    ::fcntl(read_end.get(), F_SETFL, O_NONBLOCK);
    ChildSpec spec;
    spec.argv = {program, "serve", "--root", root};
    spec.in = spec.out = theirs.get();
    spec.err = write_end.get();
    auto pipe = std::make_shared<Pipe>(loop_, clock_, host.name, std::move(ours), std::move(read_end));
    try {
      pipe->child = Child::start(loop_, clock_, spec);
    } catch (const StartError& e) {
      throw cannot_start(host, program, e.code());
    }
    spawn(loop_, keep_reading_errors(pipe));
    return pipe;
  }

  Loop& loop_;
  Clock& clock_;
  ProgramImage image_;
};

}  // namespace

std::unique_ptr<Link> make_local_link(Loop& loop, Clock& clock, Program program) {
  return std::make_unique<LocalLink>(loop, clock, std::move(program));
}

}  // namespace ripcord
