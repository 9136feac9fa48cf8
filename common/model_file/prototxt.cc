#include "common/model_file/prototxt.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/edit_distance.h"
#include "common/base/status_macros.h"
#include "common/model_file/file_bytes.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/io/tokenizer.h"
#include "google/protobuf/text_format.h"

namespace cssp {
namespace {

namespace pb = google::protobuf;

constexpr int64_t kMaxTextBytes = int64_t{1} << 30;
constexpr int kMaxDepth = 64;  // of nested messages

// A place in a text, counted from 0; line -1: unknown.
struct Position {
  int line = -1;
  int column = 0;
};

// Thread-confined: one parse.  Keeps the first error: later ones follow from
// it.
class FirstError final : public pb::io::ErrorCollector {
 public:
  void AddError(int line, pb::io::ColumnNumber column,
                const std::string& message) override {
    if (failed_) return;
    failed_ = true;
    position_ = {line, column};
    message_ = message;
  }
  void AddWarning(int, pb::io::ColumnNumber, const std::string&) override {}

  const Position& position() const { return position_; }
  const std::string& message() const { return message_; }

 private:
  bool failed_ = false;
  Position position_;
  std::string message_;
};

// The field of `type` that `name` may have meant; empty when none is near.
std::string NearestField(const pb::Descriptor& type, absl::string_view name) {
  constexpr size_t kLongestName = 64;
  if (name.size() > kLongestName) return "";
  std::string nearest;
  int least = static_cast<int>(std::max<size_t>(2, name.size() / 3)) + 1;
  for (int i = 0; i < type.field_count(); ++i) {
    const int distance = EditDistance(name, type.field(i)->name());
    if (distance >= least) continue;
    least = distance;
    nearest = type.field(i)->name();
  }
  return nearest;
}

// The parts of a message of protobuf's that stand in quotes.
std::vector<absl::string_view> Quoted(absl::string_view message) {
  std::vector<absl::string_view> parts;
  for (size_t at = message.find('"'); at != absl::string_view::npos;
       at = message.find('"', at + 1)) {
    const size_t end = message.find('"', at + 1);
    if (end == absl::string_view::npos) break;
    parts.push_back(message.substr(at + 1, end - at - 1));
    at = end;
  }
  return parts;
}

struct Mistake {
  std::string culprit;  // the word in the text; empty: where protobuf says
  std::string message;
};

// The offset of a tokenizer position, whose columns jump to multiples of 8 at
// tabs.
size_t OffsetOf(absl::string_view text, Position position) {
  size_t offset = 0;
  for (int line = 0; line < position.line; ++line) {
    const size_t end = text.find('\n', offset);
    if (end == absl::string_view::npos) return text.size();
    offset = end + 1;
  }
  for (int column = 0; offset < text.size() && column < position.column;
       ++offset)
    column += text[offset] == '\t' ? 8 - column % 8 : 1;
  return offset;
}

Position PositionOf(absl::string_view text, size_t offset) {
  const absl::string_view before = text.substr(0, offset);
  const auto line = std::count(before.begin(), before.end(), '\n');
  const size_t start = before.rfind('\n');
  return {static_cast<int>(line),
          static_cast<int>(offset -
                           (start == absl::string_view::npos ? 0 : start + 1))};
}

// Protobuf reports the token behind a wrong word: go back to the word.
Position BackToWord(absl::string_view text, Position reported,
                    absl::string_view word) {
  const size_t found = text.substr(0, OffsetOf(text, reported)).rfind(word);
  return found == absl::string_view::npos ? reported : PositionOf(text, found);
}

Mistake UnknownField(absl::string_view type_name, absl::string_view field) {
  const size_t dot = type_name.rfind('.');
  std::string message = absl::StrCat(
      "unknown field '", field, "' in ",
      type_name.substr(dot == absl::string_view::npos ? 0 : dot + 1));
  const pb::Descriptor* type =
      pb::DescriptorPool::generated_pool()->FindMessageTypeByName(
          std::string(type_name));
  const std::string near =
      type == nullptr ? std::string() : NearestField(*type, field);
  if (!near.empty()) absl::StrAppend(&message, ": did you mean '", near, "'?");
  return {std::string(field), std::move(message)};
}

// Reads protobuf's own words; what it says otherwise is passed on as it is.
Mistake Understand(const std::string& message) {
  const std::vector<absl::string_view> quoted = Quoted(message);
  if (quoted.size() == 2 && absl::StrContains(message, "has no field named"))
    return UnknownField(quoted[0], quoted[1]);
  if (quoted.size() == 2 && absl::StartsWith(message, "Unknown enumeration"))
    return {std::string(quoted[0]), message};
  if (quoted.size() == 2 && absl::StartsWith(message, "Invalid value for"))
    return {std::string(quoted[1]), message};
  return {"", message};
}

absl::Status Complain(absl::string_view text, absl::string_view source_name,
                      const FirstError& error) {
  const Mistake mistake = Understand(error.message());
  if (error.position().line < 0)
    return absl::InvalidArgumentError(
        absl::StrCat(source_name, ": ", mistake.message));
  const Position position =
      mistake.culprit.empty()
          ? error.position()
          : BackToWord(text, error.position(), mistake.culprit);
  return absl::InvalidArgumentError(
      absl::StrCat(source_name, ":", position.line + 1, ":",
                   position.column + 1, ": ", mistake.message));
}

}  // namespace

absl::Status ParseText(absl::string_view text, absl::string_view source_name,
                       pb::Message* message) {
  message->Clear();
  if (text.find('\0') != absl::string_view::npos)
    return absl::InvalidArgumentError(
        absl::StrCat(source_name, ": a binary file, not a text prototxt"));
  FirstError error;
  pb::TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  parser.SetRecursionLimit(kMaxDepth);
  if (parser.ParseFromString(std::string(text), message))
    return absl::OkStatus();
  message->Clear();
  return Complain(text, source_name, error);
}

absl::Status ReadTextFile(const std::string& path, pb::Message* message) {
  ASSIGN_OR_RETURN(const std::string text, ReadFileBytes(path, kMaxTextBytes));
  return ParseText(text, path, message);
}

absl::StatusOr<caffe::NetParameter> ReadNetText(const std::string& path) {
  caffe::NetParameter net;
  RETURN_IF_ERROR(ReadTextFile(path, &net));
  return net;
}

bool HasPythonLayers(const caffe::NetParameter& net) {
  return std::any_of(net.layer().begin(), net.layer().end(),
                     [](const caffe::LayerParameter& layer) {
                       return layer.type() == "Python";
                     });
}

bool HasPythonLayers(const caffe::SolverParameter& solver) {
  const auto& tests = solver.test_net_param();
  return HasPythonLayers(solver.net_param()) ||
         HasPythonLayers(solver.train_net_param()) ||
         std::any_of(tests.begin(), tests.end(),
                     [](const caffe::NetParameter& net) {
                       return HasPythonLayers(net);
                     });
}

}  // namespace cssp
