//! Reads profiles in pprof's form, as their tests need it. A module of the tests that do, by its path.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::HashMap;
use std::io::Read;

/// A profile as it was read back.
pub(crate) struct Parsed {
    pub(crate) types: Vec<String>,
    pub(crate) samples: Vec<Sample>,
}

#[derive(Debug)]
pub(crate) struct Sample {
    /// The innermost first.
    pub(crate) functions: Vec<String>,
    pub(crate) values: Vec<u64>,
    /// Those that are texts.
    pub(crate) labels: HashMap<String, String>,
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().expect("a varint ends");
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn fields(mut bytes: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        out.push((
            key >> 3,
            match key & 7 {
                0 => Field::Number(varint(&mut bytes)),
                2 => {
                    let length = varint(&mut bytes) as usize;
                    let (field, rest) = bytes.split_at(length);
                    bytes = rest;
                    Field::Bytes(field)
                }
                kind => panic!("wire type {kind}"),
            },
        ));
    }
    out
}

fn number(bytes: &[u8], wanted: u64) -> u64 {
    let found = fields(bytes).into_iter().find(|(field, _)| *field == wanted);
    found.map_or(0, |(_, field)| match field {
        Field::Number(number) => number,
        Field::Bytes(_) => panic!("field {wanted} is a number"),
    })
}

fn packed(bytes: &[u8], wanted: u64) -> Vec<u64> {
    let mut out = Vec::new();
    for (field, value) in fields(bytes) {
        match value {
            Field::Bytes(mut bytes) if field == wanted => {
                while !bytes.is_empty() {
                    out.push(varint(&mut bytes));
                }
            }
            _ => {}
        }
    }
    out
}

fn messages(bytes: &[u8], wanted: u64) -> Vec<&[u8]> {
    let of = |(field, value)| match value {
        Field::Bytes(bytes) if field == wanted => Some(bytes),
        _ => None,
    };
    fields(bytes).into_iter().filter_map(of).collect()
}

pub(crate) fn read(gzipped: &[u8]) -> Parsed {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(gzipped).read_to_end(&mut bytes).expect("gzip");
    let strings: Vec<_> = messages(&bytes, 6)
        .into_iter()
        .map(|text| String::from_utf8(text.to_vec()).expect("UTF-8"))
        .collect();
    assert_eq!(strings[0], "");
    let text = |index: u64| strings[index as usize].clone();
    let functions: HashMap<u64, String> =
        messages(&bytes, 5).into_iter().map(|f| (number(f, 1), text(number(f, 2)))).collect();
    let locations: HashMap<u64, Vec<String>> = messages(&bytes, 4)
        .into_iter()
        .map(|location| {
            let lines = messages(location, 4).into_iter().map(|line| functions[&number(line, 1)].clone());
            (number(location, 1), lines.collect())
        })
        .collect();
    let samples = messages(&bytes, 2).into_iter().map(|sample| {
        let names = packed(sample, 1).into_iter().flat_map(|id| locations[&id].clone()).collect();
        let labels =
            messages(sample, 3).into_iter().map(|label| (text(number(label, 1)), text(number(label, 2))));
        Sample { functions: names, values: packed(sample, 2), labels: labels.collect() }
    });
    Parsed {
        types: messages(&bytes, 1)
            .into_iter()
            .map(|kind| format!("{}/{}", text(number(kind, 1)), text(number(kind, 2))))
            .collect(),
        samples: samples.collect(),
    }
}
