//! Example answers for the OpenAPI document and `/docs`, from the samples in `files/`. `tests/api.rs`
//! compares them with real answers.

use serde_json::Value;

/// An answer.
pub struct Example {
    /// The path in the document.
    pub path: &'static str,
    /// The path and the query of the request.
    pub asked: &'static str,
    pub media: &'static str,
    text: &'static str,
}

impl Example {
    /// The answer as JSON, or as text for other formats.
    pub fn value(&self) -> Value {
        if self.media == "application/json" {
            serde_json::from_str(self.text).unwrap_or_default()
        } else {
            self.text.into()
        }
    }
}

pub static EXAMPLES: &[Example] = &[
    Example {
        path: "/api/v1/report",
        asked: "/api/v1/report",
        media: "application/json",
        text: r#"{"20210322.log":{"total":401,"ip":61},"20210323.log":{"total":301,"ip":48},"access-2021-03-24.log":{"total":250,"ip":40}}"#,
    },
    Example {
        path: "/api/v1/report",
        asked: "/api/v1/report",
        media: "text/csv",
        text: "name,total,ip\r\n20210322.log,401,61\r\n20210323.log,301,48\r\naccess-2021-03-24.log,250,40\r\n",
    },
    Example {
        path: "/api/v1/files",
        asked: "/api/v1/files?sort=-requests&limit=1",
        media: "application/json",
        text: r#"{"files":[{"id":"cf20256d25bdeee5","name":"20210322.log","day":"2021-03-22","total":401,"ip":61,"lines":403,"blank":2,"requests":401,"parsed":400,"malformed":1,"unique_ips":61,"ipv4":57,"ipv6":3,"other":1,"log_bytes":58917,"requests_by_hour":[17,17,17,16,17,17,16,17,17,16,17,17,16,17,17,16,17,17,16,17,17,16,17,16],"size":58917,"counted_to":58917,"state":"live","complete":true,"unique_ips_at_least":false,"duplicate_of":null,"reason":null}],"next":"2d72657175657374732f666666666666666666666666666536642f636632303235366432356264656565352f32303231303332322e6c6f67"}"#,
    },
    Example {
        path: "/api/v1/files/{id}",
        asked: "/api/v1/files/cf20256d25bdeee5",
        media: "application/json",
        text: r#"{"id":"cf20256d25bdeee5","name":"20210322.log","day":"2021-03-22","total":401,"ip":61,"lines":403,"blank":2,"requests":401,"parsed":400,"malformed":1,"unique_ips":61,"ipv4":57,"ipv6":3,"other":1,"log_bytes":58917,"requests_by_hour":[17,17,17,16,17,17,16,17,17,16,17,17,16,17,17,16,17,17,16,17,17,16,17,16],"size":58917,"counted_to":58917,"state":"live","complete":true,"unique_ips_at_least":false,"duplicate_of":null,"reason":null,"days":[{"day":"2021-03-22","requests":1,"parsed":0,"malformed":1,"unique_ips":1,"ipv4":0,"ipv6":0,"other":1,"log_bytes":29,"requests_by_hour":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]},{"day":"2021-03-22","requests":400,"parsed":400,"malformed":0,"unique_ips":60,"ipv4":57,"ipv6":3,"other":0,"log_bytes":58883,"requests_by_hour":[17,17,17,16,17,17,16,17,17,16,17,17,16,17,17,16,17,17,16,17,17,16,17,16]}],"quarantine":[]}"#,
    },
    Example {
        path: "/api/v1/days",
        asked: "/api/v1/days?from=2021-03-24",
        media: "application/json",
        text: r#"{"days":[{"day":"2021-03-24","requests":200,"parsed":200,"malformed":0,"unique_ips":37,"ipv4":36,"ipv6":1,"other":0,"log_bytes":29809,"requests_by_hour":[9,8,9,8,8,9,8,8,9,8,8,9,8,8,9,8,8,9,8,8,9,8,8,8],"files":1,"complete":true,"unique_ips_at_least":false},{"day":"2021-03-25","requests":50,"parsed":50,"malformed":0,"unique_ips":17,"ipv4":17,"ipv6":0,"other":0,"log_bytes":7092,"requests_by_hour":[3,2,2,2,2,2,2,2,2,2,2,3,2,2,2,2,2,2,2,2,2,2,2,2],"files":1,"complete":true,"unique_ips_at_least":false}],"next":null}"#,
    },
    Example {
        path: "/api/v1/days",
        asked: "/api/v1/days?from=2021-03-25",
        media: "text/csv",
        text: "day,requests,parsed,malformed,unique_ips,ipv4,ipv6,other,log_bytes,requests_by_hour_00,requests_by_hour_01,requests_by_hour_02,requests_by_hour_03,requests_by_hour_04,requests_by_hour_05,requests_by_hour_06,requests_by_hour_07,requests_by_hour_08,requests_by_hour_09,requests_by_hour_10,requests_by_hour_11,requests_by_hour_12,requests_by_hour_13,requests_by_hour_14,requests_by_hour_15,requests_by_hour_16,requests_by_hour_17,requests_by_hour_18,requests_by_hour_19,requests_by_hour_20,requests_by_hour_21,requests_by_hour_22,requests_by_hour_23,files,complete,unique_ips_at_least\r\n2021-03-25,50,50,0,17,17,0,0,7092,3,2,2,2,2,2,2,2,2,2,2,3,2,2,2,2,2,2,2,2,2,2,2,2,1,true,false\r\n",
    },
    Example {
        path: "/api/v1/days/{day}",
        asked: "/api/v1/days/2021-03-22",
        media: "application/json",
        text: r#"{"day":"2021-03-22","requests":401,"parsed":400,"malformed":1,"unique_ips":61,"ipv4":57,"ipv6":3,"other":1,"log_bytes":58912,"requests_by_hour":[17,17,17,16,17,17,16,17,17,16,17,17,16,17,17,16,17,17,16,17,17,16,17,16],"files":1,"complete":true,"unique_ips_at_least":false}"#,
    },
    Example {
        path: "/api/v1/range",
        asked: "/api/v1/range?from=2021-03-22&to=2021-03-24",
        media: "application/json",
        text: r#"{"from":"2021-03-22","to":"2021-03-24","requests":902,"parsed":900,"malformed":2,"unique_ips":81,"ipv4":73,"ipv6":6,"other":2,"log_bytes":132405,"requests_by_hour":[39,38,38,37,37,39,36,38,38,37,37,39,36,38,38,37,37,39,36,38,38,37,37,36],"files":3,"complete":true,"unique_ips_at_least":false,"as_of":"2026-11-24T22:10:20.676Z"}"#,
    },
    Example {
        path: "/api/v1/top/clients",
        asked: "/api/v1/top/clients?limit=3",
        media: "application/json",
        text: r#"{"clients":[{"client":"203.0.113.1","requests":350,"days":4},{"client":"203.0.113.2","requests":145,"days":4},{"client":"203.0.113.3","requests":80,"days":4}],"complete":true,"as_of":"2026-11-24T22:10:20.682Z"}"#,
    },
    Example {
        path: "/api/v1/top/clients",
        asked: "/api/v1/top/clients?limit=3",
        media: "text/csv",
        text: "client,requests,days\r\n203.0.113.1,350,4\r\n203.0.113.2,145,4\r\n203.0.113.3,80,4\r\n",
    },
    Example {
        path: "/api/v1/top/clients",
        asked: "/api/v1/top/clients?limit=3",
        media: "application/x-ndjson",
        text: "{\"client\":\"203.0.113.1\",\"requests\":350,\"days\":4}\n{\"client\":\"203.0.113.2\",\"requests\":145,\"days\":4}\n{\"client\":\"203.0.113.3\",\"requests\":80,\"days\":4}\n",
    },
    Example {
        path: "/api/v1/status",
        asked: "/api/v1/status",
        media: "application/json",
        text: r#"{"version":"0.1.0","uptime_seconds":3,"pending_bytes":0,"logs":3,"watching":"inotify","unstored_files":0,"skipped":0,"sandbox":{"setting":"auto","landlock":true,"seccomp":true},"memory":{"limit":null,"budget":268435456,"cache":268435456,"worker":1073741824},"processes":[{"role":"supervisor","pid":26797,"state":"idle","restarts":0},{"role":"coordinator","pid":26799,"state":"idle","restarts":0},{"role":"api","pid":26800,"state":"idle","restarts":0},{"role":"worker","number":0,"pid":26801,"state":"idle","restarts":0},{"role":"worker","number":1,"pid":26807,"state":"idle","restarts":0}],"degraded":[],"quarantine":[]}"#,
    },
];
