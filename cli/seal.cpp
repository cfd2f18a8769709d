#include <fmt/format.h>

#include "cli/command.hpp"
#include "cli/target.hpp"
#include "cli/view/words.hpp"
#include "core/base/files.hpp"
#include "manifests/shared/seal.hpp"

namespace ripcord::cli {
namespace {

class Seal : public Command {
 public:
  void declare(Arguments& a) override {
    a.positional("FOLDER", folder_, "the folder with unit.yaml");
    a.value("--key", how_.key, "KEY", "sign with this SSH key (ssh-agent works)");
    a.value("--out", file_, "FILE", "also write the release as one file");
  }

  Exit run(Context& c) override {
    if (!file_) file_ = c.output_file;
    if (!exists(folder_))
      throw Error(fmt::format("there is no folder '{}'", escape_terminal(folder_)), "FOLDER holds unit.yaml; nothing was sealed", Exit::invalid_file);
    auto sealed = seal_folder(c, folder_, how_);
    const auto& spec = sealed.manifest.spec;
    auto kept = c.store().sealed(sealed.digest);
    std::string signer;
    if (!kept.signature.empty()) signer = verify_seal(kept.bytes, kept.signature, "", kSealNamespace, c.now()).fingerprint;
    if (file_) c.store().export_file(sealed.digest, *file_);
    auto name = spec.unit + "@" + spec.version;
    if (how_.key && sealed.already && kept.signature.empty())
      c.out().warn(name + " was sealed before without a signature, and stays so: a new version can be signed");
    if (!c.has_fleet_file())
      c.out().note("there is no fleet file here: the release is in ./.ripcord/store" + (file_ ? " and in " + *file_ : std::string()));
    if (!c.out().text()) {
      json::object o{{"unit", spec.unit},         {"version", spec.version}, {"manifest", sealed.digest.hex()},
                     {"files", sealed.files},     {"bytes", sealed.bytes},   {"new_objects", sealed.new_objects},
                     {"already", sealed.already}, {"signed_by", signer}};
      o["file"] = file_ ? json::value(*file_) : json::value(nullptr);
      c.out().print_json(o);
      return Exit::done;
    }
    auto line = [&](const char* what, const std::string& value) {
      c.out().print(Line().cell(what, 9, Tone::dim).add(value).render(c.out().style));
    };
    c.out().print(Line().add(name, Tone::bold).add(sealed.already ? "  sealed before, unchanged" : "  sealed").render(c.out().style));
    line("digest", sealed.digest.hex());
    line("content", fmt::format("{}, {}", count_of(sealed.files, "file"), format_size(sealed.bytes)));
    line("signed", signer.empty() ? "no" : "by " + signer);
    if (file_) line("file", *file_);
    return Exit::done;
  }

 private:
  std::string folder_;
  Sealing how_;
  std::optional<std::string> file_;
};

}  // namespace

std::unique_ptr<Command> make_seal() { return std::make_unique<Seal>(); }

}  // namespace ripcord::cli
