//! Tests of the formats: the expected text is what users and scripts get.

use super::*;

const COLUMNS: &[Column] = &[
    column("account", "account"),
    column("balance", "balance"),
    column("sequence", "sequence"),
    detail("requestId"),
];
const NESTED: &[Column] =
    &[column("requestId", "request id"), column("results", "results"), detail("sessionToken")];

fn row(name: &str, balance: &str, sequence: u64) -> Vec<Cell> {
    vec![
        Cell::Text(name.to_owned()),
        Cell::Money(balance.to_owned()),
        Cell::Number(sequence),
        Cell::Text("id-1".to_owned()),
    ]
}

fn printed(format: Format, shape: Shape, columns: &'static [Column], parts: Vec<Vec<Vec<Cell>>>) -> String {
    let mut printer = Printer::new(format, shape, columns);
    let mut text: String = parts.into_iter().map(|rows| printer.rows(rows)).collect();
    text.push_str(&printer.end());
    text
}

fn one(format: Format) -> String {
    printed(format, Shape::One, COLUMNS, vec![vec![row("main/1", "5.00", 7)]])
}

/// Two rows on the first page and one on the second.
fn list(format: Format) -> String {
    let pages =
        vec![vec![row("main/1", "5.00", 7), row("main/2", "-1200.50", 12)], vec![row("main/3", "0.00", 3)]];
    printed(format, Shape::List, COLUMNS, pages)
}

#[test]
fn one_answer_in_every_format() {
    assert_eq!(one(Format::Plain), "main/1\t5.00\t7\n");
    assert_eq!(one(Format::Csv), "account,balance,sequence,requestId\nmain/1,5.00,7,id-1\n");
    let object = "{\"account\":\"main/1\",\"balance\":\"5.00\",\"sequence\":7,\"requestId\":\"id-1\"}\n";
    assert_eq!(one(Format::Json), object);
    assert_eq!(one(Format::Jsonl), object);
    assert_eq!(
        one(Format::WIDE),
        "\
╭─────────┬─────────┬──────────╮
│ account ┆ balance ┆ sequence │
╞═════════╪═════════╪══════════╡
│ main/1  ┆    5.00 ┆        7 │
╰─────────┴─────────┴──────────╯
"
    );
}

#[test]
fn a_list_over_two_pages_is_one_document() {
    assert_eq!(list(Format::Plain), "main/1\t5.00\t7\nmain/2\t-1200.50\t12\nmain/3\t0.00\t3\n");
    assert_eq!(
        list(Format::Csv),
        "account,balance,sequence,requestId\nmain/1,5.00,7,id-1\nmain/2,-1200.50,12,id-1\nmain/3,0.00,3,id-1\n"
    );
    assert_eq!(list(Format::Jsonl).lines().count(), 3);
    let array: serde_json::Value = serde_json::from_str(&list(Format::Json)).unwrap();
    assert_eq!(array.as_array().unwrap().len(), 3);
    assert_eq!(array[1]["balance"], "-1200.50");
    assert!(list(Format::WIDE).contains("│ main/2  ┆ -1200.50 ┆       12 │"));
}

#[test]
fn an_empty_list_is_an_empty_document() {
    let empty = |format| printed(format, Shape::List, COLUMNS, vec![vec![]]);
    assert_eq!(empty(Format::Json), "[]\n");
    assert_eq!(empty(Format::Csv), "account,balance,sequence,requestId\n");
    for format in [Format::Jsonl, Format::Plain, Format::WIDE] {
        assert_eq!(empty(format), "", "{format:?}");
    }
}

#[test]
fn a_feed_is_one_object_a_line() {
    let feed = |format| {
        printed(
            format,
            Shape::Feed,
            COLUMNS,
            vec![vec![row("main/1", "5.00", 7)], vec![], vec![row("main/1", "6.00", 8)]],
        )
    };
    assert_eq!(feed(Format::Json).lines().count(), 2);
    assert_eq!(feed(Format::Json), feed(Format::Jsonl));
    assert_eq!(feed(Format::Csv).lines().count(), 3);
}

fn operation(results: Vec<Vec<Cell>>) -> Vec<Cell> {
    let results = Sheet { columns: &COLUMNS[..2], rows: results };
    vec![Cell::Text("id-1".to_owned()), Cell::Rows(results), Cell::Text("token".to_owned())]
}

#[test]
fn rows_within_a_row_are_nested_for_programs_and_spread_out_for_people() {
    let two = || {
        vec![vec![operation(vec![
            row("main/1", "5.00", 7)[..2].to_vec(),
            row("main/2", "6.00", 8)[..2].to_vec(),
        ])]]
    };
    let show = |format| printed(format, Shape::One, NESTED, two());
    assert_eq!(
        show(Format::Json),
        r#"{"requestId":"id-1","results":[{"account":"main/1","balance":"5.00"},{"account":"main/2","balance":"6.00"}],"sessionToken":"token"}"#
            .to_owned()
            + "\n"
    );
    assert_eq!(show(Format::Plain), "id-1\tmain/1\t5.00\nid-1\tmain/2\t6.00\n");
    assert_eq!(
        show(Format::Csv),
        "requestId,account,balance,sessionToken\nid-1,main/1,5.00,token\nid-1,main/2,6.00,token\n"
    );
    let none = printed(Format::Plain, Shape::One, NESTED, vec![vec![operation(vec![])]]);
    assert_eq!(none, "id-1\t\t\n");
}

#[test]
fn a_refusal_is_an_object_for_programs_and_its_reason_for_people() {
    let refusal =
        Refusal { reason: "SAME_ACCOUNT".to_owned(), message: "two".to_owned(), metadata: BTreeMap::new() };
    let columns: &[Column] = const { &[column("error", "refused")] };
    let show =
        |format| printed(format, Shape::One, columns, vec![vec![vec![Cell::Refusal(refusal.clone())]]]);
    assert_eq!(
        show(Format::Json),
        "{\"error\":{\"reason\":\"SAME_ACCOUNT\",\"message\":\"two\",\"metadata\":{}}}\n"
    );
    assert_eq!(show(Format::Plain), "SAME_ACCOUNT\n");
}

#[test]
fn a_flag_shows_its_name_when_it_is_set() {
    let columns: &[Column] = const { &[column("account", "account"), column("replayed", "replayed")] };
    let show = |format, set| {
        printed(
            format,
            Shape::One,
            columns,
            vec![vec![vec![Cell::Text("main/1".to_owned()), Cell::Flag(set)]]],
        )
    };
    assert_eq!(
        (show(Format::Plain, false), show(Format::Plain, true)),
        ("main/1\n".into(), "main/1\treplayed\n".into())
    );
    assert!(
        !show(Format::WIDE, false).contains("replayed") && show(Format::WIDE, true).contains("┆ replayed │")
    );
    assert_eq!(show(Format::Csv, false), "account,replayed\nmain/1,false\n");
    assert_eq!(show(Format::Json, true), "{\"account\":\"main/1\",\"replayed\":true}\n");
}

#[test]
fn nothing_a_server_sends_controls_the_terminal() {
    let hostile = vec![vec![row("\u{1b}[31m\tx\n", "5.00", 7)]];
    for format in [Format::Plain, Format::WIDE] {
        let text = printed(format, Shape::One, COLUMNS, hostile.clone());
        assert!(!text.contains('\u{1b}') && text.contains("\u{fffd}[31m\u{fffd}x\u{fffd}"), "{text:?}");
    }
}

/// A table of one row with a digest, a time and a nested row, on a terminal of this width.
fn narrow(width: u16, rows: usize) -> String {
    const INNER: &[Column] = &[column("sequence", "sequence"), column("term", "term").spare()];
    const OUTER: &[Column] = &[
        column("sequence", "seq"),
        column("time", "time"),
        column("digest", "digest"),
        column("parts", "parts"),
    ];
    let row = || {
        let part = vec![Cell::Number(7), Cell::Number(3)];
        vec![
            Cell::Number(9),
            Cell::Time("2026-11-20T16:52:17.130453Z".to_owned()),
            Cell::Digest("0123456789abcdef".repeat(4)),
            Cell::Rows(Sheet { columns: INNER, rows: vec![part] }),
        ]
    };
    let format = if width == 0 { Format::Csv } else { Format::Table(width) };
    printed(format, Shape::List, OUTER, vec![(0..rows).map(|_| row()).collect()])
}

#[test]
fn a_table_fits_the_terminal_and_a_wide_one_leaves_nothing_out() {
    let fits = |text: &str, width: usize| text.lines().all(|line| line.chars().count() <= width);
    let all = narrow(80, 1);
    assert!(fits(&all, 80) && all.contains("2026-11-20 16:52:17Z ┆ 0123456789ab ┆"), "{all}");
    assert!(all.contains("term") && !all.contains("-o wide"), "{all}");
    let fewer = narrow(60, 1);
    assert!(fits(&fewer, 60) && !fewer.contains("term"), "{fewer}");
    assert!(fewer.ends_with("1 column more: -o wide\n"), "{fewer}");
    let record = narrow(40, 1);
    assert!(fits(&record, 40) && record.contains("digest    0123456789ab\n"), "{record}");
    assert!(fits(&narrow(40, 2), 40), "{}", narrow(40, 2));
    let wide = narrow(u16::MAX, 1);
    assert!(wide.contains(&"0123456789abcdef".repeat(4)) && wide.contains("17.130453Z"), "{wide}");
}

#[test]
fn no_two_columns_of_csv_have_one_name() {
    assert_eq!(narrow(0, 1).lines().next(), Some("sequence,time,digest,parts.sequence,term"));
}
