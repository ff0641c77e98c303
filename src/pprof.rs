//! Profiles in pprof's form: the message `profile.proto`, gzipped (<https://github.com/google/pprof/blob/main/proto/profile.proto>). Called by `gc` and `diag`.
//!
//! One message of a dozen fields is less than what a protobuf library would bring; compression is flate2's.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::hash::Hash;
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::frames::Symbol;

/// Values that every sample has: what, and in which unit.
pub(crate) type ValueType = (&'static str, &'static str);

/// What else a sample says, under some name.
#[derive(Clone, Copy)]
pub(crate) enum Label<'a> {
    Bytes(u64),
    Text(&'a str),
}

/// A profile that is being put together.
pub(crate) struct Profile {
    /// The message until now: samples, locations and functions as they come.
    message: Vec<u8>,
    strings: Table<String>,
    functions: Table<(u64, u64)>,
    /// By address.
    locations: HashMap<u64, Vec<u64>>,
    location_count: u64,
}

/// Things numbered in the order in which they come.
struct Table<T> {
    numbers: HashMap<T, u64>,
}

impl<T: Hash + Eq> Table<T> {
    /// The number, from 0, and whether it is new.
    fn number(&mut self, what: T) -> (u64, bool) {
        let next = self.numbers.len() as u64;
        let number = *self.numbers.entry(what).or_insert(next);
        (number, number == next)
    }
}

// Fields of the messages, by their names there.
mod field {
    pub(super) const PROFILE_SAMPLE_TYPE: u64 = 1;
    pub(super) const PROFILE_SAMPLE: u64 = 2;
    pub(super) const PROFILE_LOCATION: u64 = 4;
    pub(super) const PROFILE_FUNCTION: u64 = 5;
    pub(super) const PROFILE_STRING_TABLE: u64 = 6;
    pub(super) const PROFILE_TIME_NANOS: u64 = 9;
    pub(super) const PROFILE_PERIOD_TYPE: u64 = 11;
    pub(super) const PROFILE_PERIOD: u64 = 12;
    pub(super) const PROFILE_DEFAULT_SAMPLE_TYPE: u64 = 14;
    pub(super) const VALUE_TYPE_TYPE: u64 = 1;
    pub(super) const VALUE_TYPE_UNIT: u64 = 2;
    pub(super) const SAMPLE_LOCATION_ID: u64 = 1;
    pub(super) const SAMPLE_VALUE: u64 = 2;
    pub(super) const SAMPLE_LABEL: u64 = 3;
    pub(super) const LABEL_KEY: u64 = 1;
    pub(super) const LABEL_STR: u64 = 2;
    pub(super) const LABEL_NUM: u64 = 3;
    pub(super) const LABEL_NUM_UNIT: u64 = 4;
    pub(super) const LOCATION_ID: u64 = 1;
    pub(super) const LOCATION_ADDRESS: u64 = 3;
    pub(super) const LOCATION_LINE: u64 = 4;
    pub(super) const LINE_FUNCTION_ID: u64 = 1;
    pub(super) const LINE_LINE: u64 = 2;
    pub(super) const FUNCTION_ID: u64 = 1;
    pub(super) const FUNCTION_NAME: u64 = 2;
    pub(super) const FUNCTION_SYSTEM_NAME: u64 = 3;
    pub(super) const FUNCTION_FILENAME: u64 = 4;
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A number; left out if it is 0, as the format has it.
fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    if value != 0 {
        varint(out, field << 3);
        varint(out, value);
    }
}

fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn numbers(out: &mut Vec<u8>, field: u64, values: impl IntoIterator<Item = u64>) {
    let mut packed = Vec::new();
    values.into_iter().for_each(|value| varint(&mut packed, value));
    bytes(out, field, &packed);
}

impl Profile {
    /// A profile whose samples have those values, the last of which viewers show first; one sample for each `period` of the unit.
    pub(crate) fn new(values: &[ValueType], period_of: ValueType, period: u64) -> Self {
        let mut profile = Self {
            message: Vec::new(),
            strings: Table { numbers: HashMap::new() },
            functions: Table { numbers: HashMap::new() },
            locations: HashMap::new(),
            location_count: 0,
        };
        // The first one is empty.
        profile.string("");
        for value in values {
            profile.value_type(field::PROFILE_SAMPLE_TYPE, *value);
        }
        profile.value_type(field::PROFILE_PERIOD_TYPE, period_of);
        number(&mut profile.message, field::PROFILE_PERIOD, period);
        if let Some((what, _)) = values.last() {
            let what = profile.string(what);
            number(&mut profile.message, field::PROFILE_DEFAULT_SAMPLE_TYPE, what);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        number(&mut profile.message, field::PROFILE_TIME_NANOS, now.as_nanos() as u64);
        profile
    }

    fn string(&mut self, text: &str) -> u64 {
        self.strings.number(text.to_owned()).0
    }

    fn value_type(&mut self, field: u64, (what, unit): ValueType) {
        let mut message = Vec::new();
        number(&mut message, field::VALUE_TYPE_TYPE, self.string(what));
        number(&mut message, field::VALUE_TYPE_UNIT, self.string(unit));
        bytes(&mut self.message, field, &message);
    }

    /// A sample at these code addresses, the innermost first. `names` says what is at one: nothing if the frame is not to be shown.
    ///
    pub(crate) fn sample(
        &mut self,
        frames: &[u64],
        values: &[u64],
        labels: &[(&str, Label<'_>)],
        mut names: impl FnMut(u64) -> Vec<Symbol>,
    ) {
        let mut locations = Vec::new();
        for frame in frames {
            if !self.locations.contains_key(frame) {
                let made = self.location(*frame, &names(*frame));
                self.locations.insert(*frame, made);
            }
            locations.extend_from_slice(&self.locations[frame]);
        }
        let mut message = Vec::new();
        numbers(&mut message, field::SAMPLE_LOCATION_ID, locations);
        numbers(&mut message, field::SAMPLE_VALUE, values.iter().copied());
        for (key, value) in labels {
            let mut label = Vec::new();
            number(&mut label, field::LABEL_KEY, self.string(key));
            match *value {
                Label::Bytes(count) => {
                    number(&mut label, field::LABEL_NUM, count);
                    number(&mut label, field::LABEL_NUM_UNIT, self.string("bytes"));
                }
                Label::Text(text) => number(&mut label, field::LABEL_STR, self.string(text)),
            }
            bytes(&mut message, field::SAMPLE_LABEL, &label);
        }
        bytes(&mut self.message, field::PROFILE_SAMPLE, &message);
    }

    /// The location of an address, or none if nothing there is to be shown.
    fn location(&mut self, address: u64, symbols: &[Symbol]) -> Vec<u64> {
        if symbols.is_empty() {
            return Vec::new();
        }
        let mut message = Vec::new();
        self.location_count += 1;
        number(&mut message, field::LOCATION_ID, self.location_count);
        number(&mut message, field::LOCATION_ADDRESS, address);
        for symbol in symbols {
            let mut line = Vec::new();
            number(&mut line, field::LINE_FUNCTION_ID, self.function(symbol));
            number(&mut line, field::LINE_LINE, symbol.line.unwrap_or(0).into());
            bytes(&mut message, field::LOCATION_LINE, &line);
        }
        bytes(&mut self.message, field::PROFILE_LOCATION, &message);
        vec![self.location_count]
    }

    fn function(&mut self, symbol: &Symbol) -> u64 {
        let name = self.string(&symbol.function);
        let file = self.string(symbol.file.as_deref().unwrap_or(""));
        let (function, is_new) = self.functions.number((name, file));
        if is_new {
            let mut message = Vec::new();
            number(&mut message, field::FUNCTION_ID, function + 1);
            number(&mut message, field::FUNCTION_NAME, name);
            number(&mut message, field::FUNCTION_SYSTEM_NAME, name);
            number(&mut message, field::FUNCTION_FILENAME, file);
            bytes(&mut self.message, field::PROFILE_FUNCTION, &message);
        }
        function + 1
    }

    /// Writes it.
    pub(crate) fn write(mut self, writer: impl Write) -> io::Result<()> {
        let mut strings: Vec<_> = self.strings.numbers.drain().collect();
        strings.sort_unstable_by_key(|(_, number)| *number);
        for (text, _) in strings {
            bytes(&mut self.message, field::PROFILE_STRING_TABLE, text.as_bytes());
        }
        let mut encoder = GzEncoder::new(writer, Compression::fast());
        encoder.write_all(&self.message)?;
        encoder.finish()?.flush()
    }
}
